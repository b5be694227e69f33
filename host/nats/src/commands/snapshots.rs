//! Snapshots of entities: one bucket for all, one value for each key.
//!
//! `nats kv get snapshots <key>` shows one, `nats kv del snapshots <key>` or a purge of the whole bucket is always
//! allowed: an entity without one is folded from its events. Two hosts may overwrite each other's: whichever stands was
//! true when it was taken.

use async_nats::HeaderMap;
use bytes::Bytes;
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::store::{CommitError, Unavailable};

use crate::connection::Nats;
use crate::subjects::{self, SNAPSHOTS, bucket_stream};
use crate::views::DELETED;
use crate::wire;

/// The snapshot under this key, as one of the replicas has it.
pub(crate) async fn read(nats: &Nats, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
    let Some(subject) = subjects::snapshot(key) else { return Ok(None) };
    let message = wire::direct_last(nats, &bucket_stream(SNAPSHOTS), &subject).await?;
    Ok(message.filter(|message| message.headers.get(DELETED.0).is_none()).map(|message| message.payload))
}

/// Keeps it in place of the one before.
pub(crate) async fn keep(nats: &Nats, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
    let long = || CommitError::Refused(format!("its key {key} is longer than a bucket's may be"));
    let subject = subjects::snapshot(key).ok_or_else(long)?;
    wire::publish(nats, &subject, HeaderMap::new(), snapshot).await?;
    Ok(())
}
