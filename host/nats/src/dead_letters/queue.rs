//! The dead letters of one consumer and key, in the order in which they were kept.
//!
//! Removing the last dead letter and parking a message behind it must exclude each other, or the message waits for
//! nothing. So a message is parked by a publish that expects the last dead letter to be the last message on the queue's
//! one filter. The last dead letter is removed by a publish with the same expectation: a release, after which the queue
//! counts as empty. (A deletion does not work for this: on three replicas the server checks an expectation before it
//! has applied a pending deletion.) The dead letter and the release are deleted after that, in any order.

use async_nats::HeaderMap;
use bytes::Bytes;
use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::Sequence;
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use super::KeptDeadLetter;
use crate::connection::Nats;
use crate::subjects::{self, DEAD_LETTERS};
use crate::wire::{self, PublishError, StoredMessage, header};

/// The queue of one consumer and key.
#[derive(Debug)]
pub(super) struct Queue {
    consumer: String,
    /// `None`: all keys of the consumer.
    key: Option<String>,
}

impl Queue {
    pub(super) fn of(consumer: &str, key: &str) -> Self {
        Self::with(consumer, Some(key))
    }

    /// The dead letters of one key, or of all keys of a consumer. The latter is not one queue, and good only for
    /// reading.
    pub(super) fn with(consumer: &str, key: Option<&str>) -> Self {
        Self { consumer: consumer.to_owned(), key: key.map(str::to_owned) }
    }

    /// The one filter of all expectations. It matches dead letters and releases, not the parts of dead letters.
    fn filter(&self) -> String {
        subjects::dead_letter_queue(&self.consumer, self.key.as_deref())
    }

    /// Makes a publish fail unless this is still the queue's last message.
    pub(super) fn expect_last(&self, headers: &mut HeaderMap, last: Sequence) {
        headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, last.to_string());
        headers.insert(header::EXPECTED_SUBJECT, self.filter());
    }

    /// The last dead letter. `None` if the queue is empty or released.
    pub(super) async fn last(&self, nats: &Nats, replicated: bool) -> Result<Option<Sequence>, Unavailable> {
        let last = match replicated {
            true => wire::leader_last(nats, DEAD_LETTERS, &self.filter()).await?,
            false => wire::direct_last(nats, DEAD_LETTERS, &self.filter()).await?,
        };
        Ok(last.filter(|last| !subjects::is_release(&last.subject)).map(|last| last.sequence))
    }

    /// The first dead letter.
    pub(super) async fn first(&self, nats: &Nats) -> Result<Option<StoredMessage>, Unavailable> {
        self.next(nats, Sequence(1)).await
    }

    /// The first dead letter at or after this position of the stream.
    pub(super) async fn next(
        &self,
        nats: &Nats,
        mut from: Sequence,
    ) -> Result<Option<StoredMessage>, Unavailable> {
        while let Some(message) = wire::leader_next(nats, DEAD_LETTERS, from, &self.filter()).await? {
            if !subjects::is_release(&message.subject) {
                return Ok(Some(message.into()));
            }
            from = Sequence(message.sequence.0 + 1);
        }
        Ok(None)
    }

    /// The dead letter of this message, or of the command that it holds, if the queue has it.
    pub(super) async fn find(
        &self,
        nats: &Nats,
        message: &Incoming,
    ) -> Result<Option<StoredMessage>, Unavailable> {
        for kind in [DeadLetterKind::Failed, DeadLetterKind::Parked] {
            let filter = subjects::dead_letter_of(&self.consumer, self.key.as_deref(), kind, message);
            if let Some(found) = wire::leader_last(nats, DEAD_LETTERS, &filter).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Releases the queue, so that messages go through, if this is its last dead letter. A message that was parked
    /// meanwhile makes another the last. Returns whether there is a release now.
    async fn release(&self, nats: &Nats, dead_letter: &KeptDeadLetter) -> Result<bool, Unavailable> {
        let release = subjects::release(&dead_letter.subject);
        loop {
            match wire::leader_last(nats, DEAD_LETTERS, &self.filter()).await? {
                Some(last) if last.sequence == dead_letter.sequence => {}
                other => return Ok(other.is_some_and(|last| last.subject == release)),
            }
            let mut headers = HeaderMap::new();
            self.expect_last(&mut headers, dead_letter.sequence);
            match wire::publish(nats, &release, headers, Bytes::new()).await {
                Ok(_) => return Ok(true),
                Err(PublishError::WrongSequence(_)) => {}
                // The release of an earlier life of this dead letter.
                Err(PublishError::SubjectFull(_)) => purge(nats, &release, dead_letter).await?,
                Err(error) => return Err(removing(dead_letter, error.to_string())),
            }
        }
    }
}

/// Removes a dead letter. Removing it again is harmless.
pub(super) async fn remove(nats: &Nats, dead_letter: &KeptDeadLetter) -> Result<(), Unavailable> {
    let released = match &dead_letter.dead_letter.key {
        Some(key) => Queue::of(&dead_letter.dead_letter.consumer, key).release(nats, dead_letter).await?,
        None => false,
    };
    // The parts are removed first: a dead letter without its parts can be found and removed, parts without a dead
    // dead letter cannot.
    if dead_letter.parts > 0 {
        purge(nats, &subjects::dead_letter_parts(&dead_letter.subject), dead_letter).await?;
    }
    wire::delete(nats, DEAD_LETTERS, dead_letter.sequence).await?;
    if released {
        purge(nats, &subjects::release(&dead_letter.subject), dead_letter).await?;
    }
    Ok(())
}

async fn purge(nats: &Nats, filter: &str, dead_letter: &KeptDeadLetter) -> Result<(), Unavailable> {
    let subject = format!("$JS.API.STREAM.PURGE.{DEAD_LETTERS}");
    let request = serde_json::json!({ "filter": filter }).to_string();
    let doing = removing(dead_letter, String::new()).doing;
    let purged = wire::api::<serde::de::IgnoredAny>(nats, &subject, request.into(), &doing).await?;
    purged.map(|_| ()).map_err(|error| removing(dead_letter, error.to_string()))
}

fn removing(dead_letter: &KeptDeadLetter, cause: String) -> Unavailable {
    Unavailable { doing: format!("taking out dead letter {}", dead_letter.sequence), cause }
}
