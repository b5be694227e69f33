//! Which host runs a saga, and how far the saga has read. Both are in one message, which this host replaces, so that
//! two hosts do not believe for long that they run the saga.
//!
//! A host that is silent for [`SILENCE`] is replaced by another. It may still believe that it runs the saga. Nothing
//! goes wrong then, because every write of an instance is conditional.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ports::SagaStore;
use crate::id::{Name, Sequence};
use crate::store::{CommitError, Unavailable};
use crate::time::Timestamp;

/// The interval at which the host that runs a saga says so.
pub const SIGN_EVERY: Duration = Duration::from_millis(500);
/// After this time without a sign another host takes over.
pub const SILENCE: Duration = Duration::from_millis(2_000);
/// The interval at which a host that stands by looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where a new saga begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// With the first event of the stream.
    Beginning,
    /// With the first event that is stored from now on.
    Now,
    /// With the event at this sequence.
    Sequence(Sequence),
    /// With the first event that was stored at this time or later.
    Time(Timestamp),
}

/// How far a saga has read, and which host reads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SagaPosition {
    /// The process that runs it.
    pub host: String,
    /// Whether that process has stopped, so that another need not wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// For each stream, the sequence up to which every input was handled and every command of theirs was sent.
    pub handled: BTreeMap<String, Sequence>,
}

impl SagaPosition {
    /// The sequence up to which everything of this stream was handled.
    #[must_use]
    pub fn of(&self, stream: &str) -> Sequence {
        self.handled.get(stream).copied().unwrap_or_default()
    }
}

/// The right of this process to run the saga.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) position: SagaPosition,
    revision: u64,
}

/// Another host runs the saga now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deposed;

impl Lead {
    /// Waits until no other host runs the saga, and takes it over. `None` if this host is stopped before.
    ///
    /// A try is not broken off: its write could arrive later, and others would wait for a host that is gone.
    pub(super) async fn take<S: SagaStore>(
        store: &S,
        saga: &Name,
        host: &str,
        stream: &str,
        start: Start,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Self> {
        let mut seen: Option<(u64, Instant)> = None;
        loop {
            match Self::try_take(store, host, stream, start, &mut seen).await {
                Ok(Some(lead)) => {
                    tracing::info!(%saga, after = %lead.position.of(stream), "this host runs the saga");
                    return Some(lead);
                }
                Ok(None) => {}
                Err(away) => tracing::warn!(%saga, "will be tried again: {away}"),
            }
            tokio::select! {
                () = &mut stopped => {
                    Self::give_up(store, host).await;
                    return None;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn try_take<S: SagaStore>(
        store: &S,
        host: &str,
        stream: &str,
        start: Start,
        seen: &mut Option<(u64, Instant)>,
    ) -> Result<Option<Self>, Unavailable> {
        let (mut position, revision) = match store.position().await? {
            None => (SagaPosition::default(), 0),
            Some((position, revision)) => {
                let since = match *seen {
                    Some((same, since)) if same == revision => since,
                    _ => seen.insert((revision, Instant::now())).1,
                };
                if !position.released && position.host != host && since.elapsed() < SILENCE {
                    return Ok(None);
                }
                (position, revision)
            }
        };
        if !position.handled.contains_key(stream) {
            position.handled.insert(stream.to_owned(), store.begin(&start).await?);
        }
        (position.host, position.released) = (host.to_owned(), false);
        match store.keep_position(&position, revision).await {
            Ok(revision) => Ok(Some(Self { position, revision })),
            Err(CommitError::Conflict) => Ok(None),
            Err(CommitError::Unclear(away)) => Err(away),
            Err(CommitError::Refused(cause)) => {
                Err(Unavailable { doing: "taking over a saga".to_owned(), cause })
            }
        }
    }

    /// Stores that this host runs the saga, and how far it has read.
    pub(super) async fn sign<S: SagaStore>(&mut self, store: &S) -> Result<(), Deposed> {
        match store.keep_position(&self.position, self.revision).await {
            Ok(revision) => self.revision = revision,
            Err(CommitError::Conflict) => return self.look(store).await,
            // The next sign shows whether it was stored.
            Err(error) => tracing::warn!("saying how far a saga is: {error}"),
        }
        Ok(())
    }

    /// After a conflict, looks whether the last writer was this process, which lost the answer.
    async fn look<S: SagaStore>(&mut self, store: &S) -> Result<(), Deposed> {
        match store.position().await {
            Ok(Some((position, revision))) if position.host == self.position.host => {
                self.revision = revision;
                Ok(())
            }
            Ok(_) => Err(Deposed),
            Err(away) => {
                tracing::warn!("will be tried again: {away}");
                Ok(())
            }
        }
    }

    /// Lets another host take over at once, if this one has taken over and does not know it, because the answer was lost.
    async fn give_up<S: SagaStore>(store: &S, host: &str) {
        if let Ok(Some((position, revision))) = store.position().await
            && position.host == host
            && !position.released
        {
            Self { position, revision }.release(store).await;
        }
    }

    /// Lets another host take over at once.
    pub(super) async fn release<S: SagaStore>(mut self, store: &S) {
        self.position.released = true;
        if self.sign(store).await == Err(Deposed) {
            tracing::debug!("another host runs the saga already");
        }
    }
}
