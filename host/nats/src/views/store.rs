//! Views in key-value buckets. Rows and checkpoint are written together, on the condition that the checkpoint has not
//! changed.
//!
//! **A stale row is never folded.** On a replicated bucket any replica answers a read, also one that is behind. But a
//! replica applies a commit's rows before its checkpoint, and a commit is acknowledged with the checkpoint's revision.
//! So every read includes the checkpoint, and only an answer at exactly the revision that this store has last seen is
//! used. An answer that is behind is requested again. An answer that is ahead means that another host writes the view.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::try_join_all;
use pelton_core::projection::ports::ViewStore;
use pelton_core::projection::view::{Checkpoint, ViewKey};
use pelton_core::store::{CommitError, Unavailable};

use super::bucket::{self, Bucket, DELETED, Held, Reading};
use crate::connection::Nats;
use crate::wire::{self, BatchMessage, MAX_BATCH_MESSAGES};

/// The most rows of one commit: with the checkpoint they fill the server's atomic batch.
pub const MAX_ROWS: usize = MAX_BATCH_MESSAGES - 1;
/// The number of times that a read is repeated after a replica that is behind has answered.
const MAX_STALE_READS: u32 = 20;
/// The wait before such a read is repeated.
const STALE_PAUSE: Duration = Duration::from_millis(25);

/// The time that the tombstone of a deleted row stays, for clients that watch the bucket. Then the server removes it.
/// Reads find no row either way.
const TOMBSTONE_TTL: Duration = Duration::from_secs(3600);

/// A [`ViewStore`] in one bucket. One flow at a time uses it, because it remembers the revision that the flow has seen
/// last.
#[derive(Debug)]
pub struct BucketViews {
    nats: Nats,
    bucket: Bucket,
    /// The checkpoint's revision that this store has seen last.
    revision: Mutex<Option<u64>>,
    tombstone_ttl: Duration,
}

impl BucketViews {
    /// The view in this bucket, which must exist.
    #[must_use]
    pub fn new(nats: &Nats, bucket: Bucket) -> Self {
        Self { nats: nats.clone(), bucket, revision: Mutex::new(None), tombstone_ttl: TOMBSTONE_TTL }
    }

    /// Keeps the tombstones of deleted rows for this time, in whole seconds, at least one.
    #[must_use]
    pub fn with_tombstone_ttl(self, tombstone_ttl: Duration) -> Self {
        Self { tombstone_ttl, ..self }
    }

    fn seen(&self) -> Option<u64> {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, revision: u64) {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
    }

    /// The rows that belong to the checkpoint at `revision`.
    async fn read_at(&self, revision: u64, subjects: &[String]) -> Result<Reading, Unavailable> {
        for _ in 0..MAX_STALE_READS {
            let reading = bucket::read(&self.nats, &self.bucket, subjects).await?;
            if reading.revision() == revision && reading.up_to >= revision {
                return Ok(reading);
            }
            if reading.revision() > revision {
                return Err(bucket::unreadable(
                    &self.bucket,
                    format!(
                        "another host writes it: its checkpoint is at revision {}, not at {revision}",
                        reading.revision()
                    ),
                ));
            }
            tracing::debug!(bucket = self.bucket.name(), revision, "a replica that is behind has answered");
            tokio::time::sleep(STALE_PAUSE).await;
        }
        Err(bucket::unreadable(&self.bucket, format!("only replicas behind revision {revision} answer")))
    }

    async fn write(
        &self,
        changes: &[(ViewKey, Option<Bytes>)],
        checkpoint: &Checkpoint,
    ) -> Result<u64, CommitError> {
        let refused = |why: String| CommitError::Refused(why);
        if changes.len() > MAX_ROWS {
            return Err(refused(format!(
                "{} rows in one commit; at most {MAX_ROWS} are allowed",
                changes.len()
            )));
        }
        let value = serde_json::to_vec(checkpoint).map_err(|e| refused(format!("its checkpoint: {e}")))?;
        let rows = changes.iter().map(|(key, value)| {
            let mut headers = HeaderMap::new();
            if value.is_none() {
                headers.insert(DELETED.0, DELETED.1);
                headers.insert(wire::header::TTL, format!("{}s", self.tombstone_ttl.as_secs().max(1)));
            }
            BatchMessage {
                subject: self.bucket.row(key),
                headers,
                payload: value.clone().unwrap_or_default(),
            }
        });
        let headers = wire::expecting(checkpoint.revision);
        let last = BatchMessage { subject: self.bucket.checkpoint(), headers, payload: value.into() };
        Ok(wire::publish_batch(&self.nats, rows.chain([last]).collect()).await?.sequence)
    }
}

impl ViewStore for BucketViews {
    async fn checkpoint(&self) -> Result<Checkpoint, Unavailable> {
        let checkpoint = bucket::leader_checkpoint(&self.nats, &self.bucket).await?;
        self.saw(checkpoint.revision);
        Ok(checkpoint)
    }

    async fn read(&self, keys: &[ViewKey]) -> Result<Vec<Option<Bytes>>, Unavailable> {
        let revision = match self.seen() {
            Some(revision) => revision,
            None => self.checkpoint().await?.revision,
        };
        let subjects: Vec<String> = keys.iter().map(|key| self.bucket.row(key)).collect();
        let reads = bucket::groups(&subjects).map(|group| self.read_at(revision, group));
        let readings = try_join_all(reads).await?;
        let rows: HashMap<String, Held> = readings.into_iter().flat_map(|reading| reading.rows).collect();
        Ok(subjects.iter().map(|subject| rows.get(subject).and_then(|held| held.value.clone())).collect())
    }

    async fn commit(
        &self,
        changes: &[(ViewKey, Option<Bytes>)],
        checkpoint: &Checkpoint,
    ) -> Result<u64, CommitError> {
        let revision = self.write(changes, checkpoint).await?;
        self.saw(revision);
        Ok(revision)
    }
}
