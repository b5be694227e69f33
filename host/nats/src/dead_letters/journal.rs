//! The history of each dead letter, in the audit stream.
//!
//! The subject of an entry is `audit.dead-letter.<dead letter>.<what>`. Entries that a dead letter may have several of
//! end in a token that tells them apart. Entries are kept as long as outcomes.

use pelton_core::dead_letter::DeadLetter;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::KeptDeadLetter;
use super::form::bounded;
use crate::connection::Nats;
use crate::subjects::{self, AUDIT};
use crate::wire::{self, PublishError, StoredMessage};

/// The number of entries that are read at a time.
const PAGE_ENTRIES: usize = 1000;

/// An event in the history of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The dead letter's position in the dead-letter stream.
    pub dead_letter: Sequence,
    /// The handler, projection or saga.
    pub consumer: String,
    /// The entity, view key or instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it happened, by the writer's clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened to a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happening {
    /// It was set aside.
    Kept {
        /// `failed` or `parked`.
        kind: String,
        /// The cause.
        cause: String,
    },
    /// An operator is about to retry it.
    Retried {
        /// The operator.
        by: String,
    },
    /// It failed again, and stays.
    FailedAgain {
        /// The cause.
        cause: String,
    },
    /// It was processed, and is removed.
    Settled {
        /// The outcome.
        outcome: String,
    },
    /// An operator gave it up; it is removed.
    Dropped {
        /// The operator.
        by: String,
        /// The reason.
        reason: String,
    },
}

/// The history of a dead letter, in order. `replicated`: the stream has replicas, which may be behind.
pub async fn journal(
    nats: &Nats,
    dead_letter: Sequence,
    replicated: bool,
) -> Result<Vec<Entry>, Unavailable> {
    let filter = subjects::dead_letter_entries(dead_letter);
    let (mut entries, mut next) = (Vec::new(), Some(Sequence(1)));
    while let Some(from) = next {
        let page = wire::page(nats, AUDIT, &filter, from, PAGE_ENTRIES, replicated).await?;
        next = page.next();
        entries.extend(page.messages.iter().map(decode).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(entries)
}

pub(super) async fn note_kept(
    nats: &Nats,
    at: Sequence,
    dead_letter: &DeadLetter,
) -> Result<(), Unavailable> {
    let (kind, cause) = (dead_letter.kind.as_str().to_owned(), bounded(&dead_letter.cause).to_owned());
    publish(
        nats,
        &subjects::dead_letter_entry(at, "kept"),
        entry(at, dead_letter, Happening::Kept { kind, cause }),
    )
    .await
}

pub(super) async fn note_failed_again(
    nats: &Nats,
    at: Sequence,
    dead_letter: &DeadLetter,
) -> Result<(), Unavailable> {
    let cause = bounded(&dead_letter.cause).to_owned();
    let subject = failed_again_subject(at, dead_letter.message.sequence);
    publish(nats, &subject, entry(at, dead_letter, Happening::FailedAgain { cause })).await
}

/// The cause for which the retry failed that was sent as this message of the command stream. `None` if it did not fail,
/// or not yet.
pub(super) async fn failed_again(
    nats: &Nats,
    dead_letter: &KeptDeadLetter,
    sent: Sequence,
) -> Result<Option<String>, Unavailable> {
    let message = wire::leader_last(nats, AUDIT, &failed_again_subject(dead_letter.sequence, sent)).await?;
    match message.map(|message| decode(&message)).transpose()?.map(|entry| entry.what) {
        Some(Happening::FailedAgain { cause }) => Ok(Some(cause)),
        _ => Ok(None),
    }
}

/// Notes an operator's action on a dead letter.
pub(super) async fn note(
    nats: &Nats,
    dead_letter: &KeptDeadLetter,
    what: Happening,
) -> Result<(), Unavailable> {
    // Entries that may occur several times have a subject of their own each.
    let place = match &what {
        Happening::Dropped { .. } => "dropped".to_owned(),
        Happening::Settled { .. } => "settled".to_owned(),
        Happening::FailedAgain { .. } => format!("failed-again.{:016x}", rand::random::<u64>()),
        _ => format!("retried.{:016x}", rand::random::<u64>()),
    };
    let subject = subjects::dead_letter_entry(dead_letter.sequence, &place);
    publish(nats, &subject, entry(dead_letter.sequence, &dead_letter.dead_letter, what)).await
}

fn failed_again_subject(dead_letter: Sequence, sent: Sequence) -> String {
    subjects::dead_letter_entry(dead_letter, &format!("failed-again.{sent}"))
}

fn entry(dead_letter: Sequence, of: &DeadLetter, what: Happening) -> Entry {
    Entry { dead_letter, consumer: of.consumer.clone(), key: of.key.clone(), at: Timestamp::now(), what }
}

fn decode(message: &StoredMessage) -> Result<Entry, Unavailable> {
    serde_json::from_slice(&message.payload).map_err(|e| Unavailable {
        doing: format!("reading {} from stream {AUDIT}", message.subject),
        cause: format!("it holds no entry: {e}"),
    })
}

/// Writes an entry, unless there is one at its subject.
async fn publish(nats: &Nats, subject: &str, entry: Entry) -> Result<(), Unavailable> {
    let away = |cause: String| Unavailable { doing: format!("writing {subject}"), cause };
    let payload = serde_json::to_vec(&entry).map_err(|e| away(e.to_string()))?;
    match wire::publish(nats, subject, wire::expecting(0), payload.into()).await {
        Ok(_) | Err(PublishError::WrongSequence(_)) => Ok(()),
        Err(error) => Err(away(error.to_string())),
    }
}
