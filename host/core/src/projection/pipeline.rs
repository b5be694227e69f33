//! The state of a view: the stored commit, the commit that was sent, and the values after both.
//!
//! While one commit is pending, the next batch is folded on the values that it will leave. This is an optimisation;
//! correctness does not depend on it: if the commit is not stored, the flow forgets all values and starts again at the
//! checkpoint. A commit whose result is unclear is sent again with growing delays. Its checkpoint makes it conditional,
//! so it is stored once, and nothing has to be read again meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ViewError;
use super::batch_size::BatchSize;
use super::rows::Rows;
use crate::id::{Name, Sequence};
use crate::projection::ports::ViewStore;
use crate::projection::view::{Checkpoint, ViewKey};
use crate::retry::RetryPolicy;
use crate::store::{CommitError, Unavailable};

/// New values, by key.
pub(super) type Changes = Vec<(ViewKey, Option<Bytes>)>;

/// Completes once the flow has been told to stop.
pub(super) type Stopped = Shared<BoxFuture<'static, ()>>;

/// The state of a view.
#[derive(Debug)]
pub(super) struct Pipeline<V> {
    view: Name,
    store: Arc<V>,
    retry: RetryPolicy,
    stopped: Stopped,
    stored: Checkpoint,
    sent: Option<Sent>,
    rows: Rows,
    pub(super) batch_size: BatchSize,
    /// A commit up to here was refused. Up to here, the flow commits one batch at a time, to isolate the refused one.
    refused_at: Sequence,
}

/// A commit that was sent.
#[derive(Debug)]
struct Sent {
    changes: Arc<Changes>,
    checkpoint: Checkpoint,
    answer: JoinHandle<Result<u64, CommitError>>,
    /// The number of answers that left its result unclear.
    unclear: u32,
    /// When to send it again. `None` while its answer is pending.
    again_at: Option<Instant>,
}

impl<V: ViewStore> Pipeline<V> {
    /// The view at its stored checkpoint.
    pub(super) async fn of(
        view: &Name,
        store: &Arc<V>,
        retry: RetryPolicy,
        stopped: Stopped,
        batch_size: BatchSize,
        refused_at: Sequence,
    ) -> Result<Self, Unavailable> {
        let stored = store.checkpoint().await?;
        let (view, store, rows) = (view.clone(), store.clone(), Rows::default());
        Ok(Self { view, store, retry, stopped, stored, sent: None, rows, batch_size, refused_at })
    }

    /// The revision of the last commit that is known to be stored.
    pub(super) fn revision(&self) -> u64 {
        self.stored.revision
    }

    /// Fails if another host has moved the checkpoint meanwhile.
    pub(super) async fn check_is_current(&mut self) -> Result<(), ViewError> {
        self.arrive().await?;
        match self.store.checkpoint().await?.revision == self.stored.revision {
            true => Ok(()),
            false => Err(ViewError::Lost(CommitError::Conflict)),
        }
    }

    /// The checkpoint after the pending commit.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        self.sent.as_ref().map_or(&self.stored, |sent| &sent.checkpoint)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether a commit has to wait for its answer before the flow continues.
    pub(super) fn goes_step_by_step(&self) -> bool {
        self.checkpoint().position <= self.refused_at
    }

    /// Sends a commit once the one before is stored. An error is about the one before.
    pub(super) async fn send(&mut self, changes: Changes, next: Checkpoint) -> Result<(), ViewError> {
        self.arrive().await?;
        for (key, value) in &changes {
            self.rows.keep(key, value.as_ref());
        }
        let checkpoint = Checkpoint { revision: self.stored.revision, ..next };
        let changes = Arc::new(changes);
        let answer = self.commit(&changes, &checkpoint);
        self.sent = Some(Sent { changes, checkpoint, answer, unclear: 0, again_at: None });
        Ok(())
    }

    fn commit(
        &self,
        changes: &Arc<Changes>,
        checkpoint: &Checkpoint,
    ) -> JoinHandle<Result<u64, CommitError>> {
        let (store, changes, checkpoint) = (self.store.clone(), changes.clone(), checkpoint.clone());
        tokio::spawn(async move { store.commit(&changes, &checkpoint).await })
    }

    /// Waits until the pending commit is stored, if there is one, and sends it again if its result is unclear. Cancel
    /// safe.
    pub(super) async fn arrive(&mut self) -> Result<(), ViewError> {
        while let Some(sent) = &mut self.sent {
            if let Some(at) = sent.again_at {
                tokio::select! {
                    biased;
                    () = self.stopped.clone() => return Err(stopped().into()),
                    () = tokio::time::sleep_until(at) => {}
                }
                let (changes, checkpoint) = (sent.changes.clone(), sent.checkpoint.clone());
                let answer = self.commit(&changes, &checkpoint);
                if let Some(sent) = &mut self.sent {
                    (sent.answer, sent.again_at) = (answer, None);
                }
                continue;
            }
            let answer = (&mut sent.answer).await.unwrap_or_else(|ended| {
                let doing = "committing a view".to_owned();
                Err(CommitError::Unclear(Unavailable { doing, cause: ended.to_string() }))
            });
            match answer {
                Ok(revision) => {
                    let Some(Sent { checkpoint, .. }) = self.sent.take() else { return Ok(()) };
                    self.stored = Checkpoint { revision, ..checkpoint };
                }
                Err(CommitError::Unclear(away)) => {
                    sent.unclear += 1;
                    let delay = self.retry.delay(sent.unclear);
                    sent.again_at = Some(Instant::now() + delay);
                    tracing::warn!(view = %self.view, ?delay, "a commit will be sent again: {away}");
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Forgets all values, because they may not hold any more.
    fn failed(&mut self, error: CommitError) -> ViewError {
        self.forget_values();
        match (self.sent.take(), error) {
            (Some(sent), CommitError::Refused(why)) => {
                ViewError::Refused { at: sent.checkpoint.position, why }
            }
            (Some(sent), CommitError::Conflict) if sent.unclear > 0 => {
                let cause = "it was sent again and met a newer checkpoint, perhaps its own".to_owned();
                ViewError::Lost(CommitError::Unclear(Unavailable {
                    doing: "committing a view".to_owned(),
                    cause,
                }))
            }
            (_, lost) => ViewError::Lost(lost),
        }
    }

    /// Forgets all values, so that they are read again.
    pub(super) fn forget_values(&mut self) {
        self.rows = Rows::default();
    }

    /// The values of these keys after the pending commit.
    pub(super) async fn values(&mut self, keys: &[&ViewKey]) -> Result<Vec<Option<Bytes>>, ViewError> {
        let mut values: Vec<_> = keys.iter().map(|key| self.rows.get(key)).collect();
        let unknown = keys.iter().zip(&values).filter(|(_, value)| value.is_none());
        let unknown: Vec<ViewKey> = unknown.map(|(key, _)| (*key).clone()).collect();
        if !unknown.is_empty() {
            self.arrive().await?;
            let mut read = self.store.read(&unknown).await?.into_iter();
            for (key, value) in keys.iter().zip(&mut values).filter(|(_, value)| value.is_none()) {
                let found = read.next().flatten();
                // Copied, because the value may be a small piece of a large message.
                self.rows.keep(key, found.as_deref().map(Bytes::copy_from_slice).as_ref());
                *value = Some(found);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }
}

fn stopped() -> Unavailable {
    let cause = "the flow was stopped before its result was known".to_owned();
    Unavailable { doing: "committing a view".to_owned(), cause }
}
