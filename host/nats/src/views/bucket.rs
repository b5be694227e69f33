//! The layout of a view in its key-value bucket, and the number of values that are read at once.
//!
//! Rows are under `r.<escaped key>`, the checkpoint is under `checkpoint`: no key can be both, whatever keys a plugin
//! chooses. `nats kv get <bucket> r.<escaped key>` shows a row.

use std::collections::HashMap;

use bytes::Bytes;
use pelton_core::id::Name;
use pelton_core::projection::view::{Checkpoint, ViewKey};
use pelton_core::store::Unavailable;
use serde::Deserialize;

use crate::connection::Nats;
use crate::subjects;
use crate::wire::{self, Lasts, StoredMessage};

/// The most subjects of one read; the server answers at most 1,024 messages.
pub(crate) const MAX_SUBJECTS: usize = 256;
/// The most bytes of a read that the server sends at once. The rest is requested again.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The tombstone of a deleted row: a header of key-value buckets, and its value.
pub(crate) const DELETED: (&str, &str) = ("KV-Operation", "DEL");

/// The bucket of one version of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: String,
}

impl Bucket {
    /// The bucket `<view>-v<version>`. Fails if the view's name has other characters than letters, digits, `-` and `_`.
    pub fn new(view: &Name, version: u32) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !view.as_str().bytes().all(fits) {
            return Err(format!(
                "the view's name {view} may have only letters, digits, `-` and `_`: it names a key-value bucket"
            ));
        }
        Ok(Self { name: subjects::view_bucket(view, version) })
    }

    /// The bucket's name, for `nats kv`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream behind the bucket.
    #[must_use]
    pub fn stream(&self) -> String {
        subjects::bucket_stream(&self.name)
    }

    /// The subject of the checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        subjects::checkpoint(&self.name)
    }

    /// The prefix of the subject of every row.
    #[must_use]
    pub fn rows(&self) -> String {
        subjects::rows(&self.name)
    }

    /// The subject of a row.
    #[must_use]
    pub fn row(&self, key: &ViewKey) -> String {
        subjects::row(&self.name, key)
    }
}

/// The content of a bucket under one subject.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Its position in the bucket's stream.
    pub(crate) sequence: u64,
    /// The value. `None` if it was deleted.
    pub(crate) value: Option<Bytes>,
}

/// The content of a bucket under some subjects.
///
/// One piece of an answer is of one moment. If an answer came in several pieces, later pieces are never of an earlier
/// moment, and the checkpoint is of the last. So with `up_to >= r` and a checkpoint at revision `r`, the rows are
/// exactly those that belong to `r`, and no row is older than `up_to`.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The rows by subject. A missing row was not in the bucket.
    pub(crate) rows: HashMap<String, Held>,
    /// The checkpoint as stored.
    pub(crate) checkpoint: Option<Held>,
    /// The last sequence that the replica had stored when it sent the first piece.
    pub(crate) up_to: u64,
}

impl Reading {
    /// The revision of the checkpoint; 0 if there is none.
    pub(crate) fn revision(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |held| held.sequence)
    }
}

/// Reads a stored checkpoint.
pub(crate) fn decode_checkpoint(bucket: &Bucket, held: Option<&Held>) -> Result<Checkpoint, Unavailable> {
    let Some(Held { sequence, value: Some(value) }) = held else { return Ok(Checkpoint::default()) };
    let checkpoint: Checkpoint = serde_json::from_slice(value)
        .map_err(|e| unreadable(bucket, format!("its `checkpoint` cannot be read: {e}")))?;
    Ok(Checkpoint { revision: *sequence, ..checkpoint })
}

/// The checkpoint, read from the leader. Without a checkpoint the bucket must be empty: rows without one may have any
/// number of events in them.
pub(crate) async fn leader_checkpoint(nats: &Nats, bucket: &Bucket) -> Result<Checkpoint, Unavailable> {
    let message = wire::leader_last(nats, &bucket.stream(), &bucket.checkpoint()).await?;
    let held = message.map(held);
    if held.as_ref().is_none_or(|held| held.value.is_none()) && messages(nats, bucket).await? > 0 {
        let stream = bucket.stream();
        let cause =
            format!("it has rows, but no checkpoint; `nats stream purge {stream}` has the view built anew");
        return Err(unreadable(bucket, cause));
    }
    decode_checkpoint(bucket, held.as_ref())
}

async fn messages(nats: &Nats, bucket: &Bucket) -> Result<u64, Unavailable> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
    }
    let subject = format!("$JS.API.STREAM.INFO.{}", bucket.stream());
    let doing = unreadable(bucket, "").doing;
    let info = wire::api::<Info>(nats, &subject, "{}".into(), &doing).await?;
    Ok(info.map_err(|error| unreadable(bucket, error.to_string()))?.state.messages)
}

/// Subjects in groups of the size that one [`read`] accepts.
pub(crate) fn groups(subjects: &[String]) -> std::slice::Chunks<'_, String> {
    subjects.chunks(MAX_SUBJECTS)
}

/// Reads rows together with the checkpoint, from any replica.
pub(crate) async fn read(nats: &Nats, bucket: &Bucket, rows: &[String]) -> Result<Reading, Unavailable> {
    let reading = read_within(nats, bucket, rows, usize::MAX).await?;
    reading.ok_or_else(|| unreadable(bucket, "its rows have no bound"))
}

/// The same with a limit. `None`: the rows have more than `max_bytes`; at most [`MAX_ANSWER_BYTES`] more were read to
/// find that out.
pub(crate) async fn read_within(
    nats: &Nats,
    bucket: &Bucket,
    rows: &[String],
    max_bytes: usize,
) -> Result<Option<Reading>, Unavailable> {
    let checkpoint = bucket.checkpoint();
    let mut missing: Vec<&str> = rows.iter().map(String::as_str).chain([checkpoint.as_str()]).collect();
    let stream = bucket.stream();
    let mut lasts = wire::direct_lasts(nats, &stream, &missing, MAX_ANSWER_BYTES).await?;
    let mut reading = Reading { up_to: lasts.up_to, ..Reading::default() };
    let mut bytes = 0;
    loop {
        let Lasts { messages, up_to, more } = lasts;
        let nothing = messages.is_empty();
        bytes += messages.iter().map(|message| message.payload.len()).sum::<usize>();
        reading.rows.extend(messages.into_iter().map(|message| (message.subject.clone(), held(message))));
        if !more {
            reading.checkpoint = reading.rows.remove(&checkpoint);
            return Ok((bytes <= max_bytes).then_some(reading));
        }
        if bytes > max_bytes {
            return Ok(None);
        }
        if nothing {
            return Err(unreadable(bucket, "the server says that there is more, but sends nothing"));
        }
        missing.retain(|subject| *subject == checkpoint || !reading.rows.contains_key(*subject));
        lasts = wire::direct_lasts(nats, &stream, &missing, MAX_ANSWER_BYTES).await?;
        if lasts.up_to < up_to {
            return Err(unreadable(bucket, "the rest came from a replica that is behind"));
        }
    }
}

fn held(message: StoredMessage) -> Held {
    let deleted = message.headers.get(DELETED.0).is_some();
    Held { sequence: message.sequence.0, value: (!deleted).then_some(message.payload) }
}

pub(crate) fn unreadable(bucket: &Bucket, cause: impl Into<String>) -> Unavailable {
    Unavailable { doing: format!("reading the view in bucket {}", bucket.name), cause: cause.into() }
}
