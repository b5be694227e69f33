//! Where a view is: the commit that is stored, the one on its way, and what the view holds with both.
//!
//! While one commit is on its way, the next batch is folded on the values that it will leave. That is a way to be fast,
//! never a way to be right: where a commit is not stored, everything that was known is forgotten, and the flow begins
//! again at the checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::ViewError;
use super::batch_size::BatchSize;
use super::rows::Rows;
use crate::id::Sequence;
use crate::projection::ports::ViewStore;
use crate::projection::view::{Checkpoint, ViewKey};
use crate::store::{CommitError, Unavailable};

/// New values, by key.
pub(super) type Changes = Vec<(ViewKey, Option<Bytes>)>;

/// Where a view is.
#[derive(Debug)]
pub(super) struct Pipeline<V> {
    store: Arc<V>,
    stored: Checkpoint,
    sent: Option<Sent>,
    known: Rows,
    pub(super) batch_size: BatchSize,
    /// A commit up to here was refused. So that it shows whose fault it is, each waits for its answer up to here.
    refused_at: Sequence,
}

/// A commit on its way.
#[derive(Debug)]
struct Sent {
    checkpoint: Checkpoint,
    answer: JoinHandle<Result<u64, CommitError>>,
}

impl<V: ViewStore> Pipeline<V> {
    /// The view as its checkpoint has it.
    pub(super) async fn of(
        store: &Arc<V>,
        batch_size: BatchSize,
        refused_at: Sequence,
    ) -> Result<Self, Unavailable> {
        let stored = store.checkpoint().await?;
        Ok(Self { store: store.clone(), stored, sent: None, known: Rows::default(), batch_size, refused_at })
    }

    /// How far the view has come once the commit on its way is stored.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        self.sent.as_ref().map_or(&self.stored, |sent| &sent.checkpoint)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether a commit has to wait for its answer before anything else is done.
    pub(super) fn goes_step_by_step(&self) -> bool {
        self.checkpoint().position <= self.refused_at
    }

    /// Sends a commit on its way once the one before is stored. An error is about the one before.
    pub(super) async fn send(&mut self, changes: Changes, next: Checkpoint) -> Result<(), ViewError> {
        self.arrive().await?;
        for (key, value) in &changes {
            self.known.keep(key, value.as_ref());
        }
        let checkpoint = Checkpoint { revision: self.stored.revision, ..next };
        let (store, sent) = (self.store.clone(), checkpoint.clone());
        let answer = tokio::spawn(async move { store.commit(&changes, &sent).await });
        self.sent = Some(Sent { checkpoint, answer });
        Ok(())
    }

    /// Waits until the commit on its way is stored, if there is one. Can be dropped and called again.
    pub(super) async fn arrive(&mut self) -> Result<(), ViewError> {
        let Some(sent) = &mut self.sent else { return Ok(()) };
        let answer = (&mut sent.answer).await.unwrap_or_else(|ended| {
            let doing = "committing a view".to_owned();
            Err(CommitError::Unclear(Unavailable { doing, cause: ended.to_string() }))
        });
        let Some(Sent { checkpoint, .. }) = self.sent.take() else { return Ok(()) };
        let revision = answer.map_err(|error| {
            self.forget_values();
            match error {
                CommitError::Refused(why) => ViewError::Refused { at: checkpoint.position, why },
                lost => ViewError::Lost(lost),
            }
        })?;
        self.stored = Checkpoint { revision, ..checkpoint };
        Ok(())
    }

    /// Has all values read again.
    pub(super) fn forget_values(&mut self) {
        self.known = Rows::default();
    }

    /// The values of these keys as they are once the commit on its way is stored.
    pub(super) async fn values(&mut self, keys: &[&ViewKey]) -> Result<Vec<Option<Bytes>>, ViewError> {
        let mut values: Vec<_> = keys.iter().map(|key| self.known.get(key)).collect();
        let unknown = keys.iter().zip(&values).filter(|(_, value)| value.is_none());
        let unknown: Vec<ViewKey> = unknown.map(|(key, _)| (*key).clone()).collect();
        if !unknown.is_empty() {
            self.arrive().await?;
            let mut read = self.store.read(&unknown).await?.into_iter();
            for (key, value) in keys.iter().zip(&mut values).filter(|(_, value)| value.is_none()) {
                let found = read.next().flatten();
                // A copy: what was read may be a small piece of a large message.
                self.known.keep(key, found.as_deref().map(Bytes::copy_from_slice).as_ref());
                *value = Some(found);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }
}
