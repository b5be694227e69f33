//! Messages that could not be processed, kept in the dead-letter stream until an operator retries or drops them.
//!
//! The subject of a dead letter is `dead-letter.<consumer>.<key>.<kind>.<stream>.<sequence>.<command>`. The key is
//! hashed, the command is the id if the message is a command, and a missing part is `-`. The stream holds one message a
//! subject, so keeping the same message again changes nothing, at any time. (With a message id the server would reject
//! a dead letter that was removed and comes back within the duplicate window.) The dead letters of one consumer and key
//! are a [`queue`].

mod form;
mod journal;
mod list;
mod operator;
mod queue;
mod requests;

use async_nats::HeaderMap;
use pelton_core::command::outcome::ParkedCommand;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters, OnFailure, Parking, RETRY_OF};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;

use crate::connection::Nats;
use crate::subjects::{self, COMMANDS, DEAD_LETTERS};
use crate::wire::{self, PublishError, StoredMessage, header, publish_batch};

pub use journal::{Entry, Happening, journal};
pub use list::{Filter, Page, page};
pub use operator::{Operator, Retried};

use queue::Queue;

/// A dead letter as the stream holds it.
#[derive(Debug, Clone)]
pub struct KeptDeadLetter {
    /// Its position in the dead-letter stream.
    pub sequence: Sequence,
    /// When it was set aside.
    pub kept_at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// The dead letter. Its attempts are those before it was kept.
    pub dead_letter: DeadLetter,
    /// The number of parts that hold its message; 0 if the dead letter itself holds the whole message.
    parts: u64,
}

impl KeptDeadLetter {
    /// The id of the command in it, if it holds a command with an id.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        subjects::id_of_command(&self.dead_letter.message)
    }
}

/// The [`DeadLetters`] of all flows, in a stream of their own.
#[derive(Debug, Clone)]
pub struct StreamDeadLetters {
    nats: Nats,
    /// Whether the stream has more than one replica, so that a replica that is behind may answer a read.
    replicated: bool,
}

impl StreamDeadLetters {
    /// The dead letters in the stream of this server.
    #[must_use]
    pub fn new(nats: &Nats, replicated: bool) -> Self {
        Self { nats: nats.clone(), replicated }
    }
}

impl DeadLetters for StreamDeadLetters {
    async fn keep(&self, dead_letter: DeadLetter) -> Result<Sequence, Unavailable> {
        keep(&self.nats, &dead_letter).await
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        Queue::of(consumer.as_str(), key).last(&self.nats, self.replicated).await
    }

    async fn is_retry(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
        on_failure: OnFailure,
    ) -> Result<bool, Unavailable> {
        let Some(retried) = retry_of(message) else { return Ok(false) };
        let queue = Queue::of(consumer.as_str(), key);
        let dead_letter = match on_failure {
            OnFailure::Park => queue.first(&self.nats).await?,
            OnFailure::Skip => queue.next(&self.nats, retried).await?,
        };
        Ok(dead_letter
            .is_some_and(|dead_letter| dead_letter.sequence == retried && form::holds(&dead_letter, message)))
    }

    async fn keep_behind(&self, dead_letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        let queue = Queue::of(&dead_letter.consumer, dead_letter.key.as_deref().unwrap_or_default());
        // A client that sends a command again and again must not fill the queue. One dead letter under the id is enough
        // even if the payload differs: an id counts once, and the first command's answer is the answer.
        if let Some(found) = queue.find(&self.nats, &dead_letter.message).await?
            && let Some(there) = described(found)?
        {
            if there.dead_letter.kind == DeadLetterKind::Failed && there.dead_letter.id() == dead_letter.id()
            {
                return Ok(Parking::Failed(there.dead_letter.cause));
            }
            // The host that kept it may have been interrupted before this.
            journal::note_kept(&self.nats, there.sequence, &there.dead_letter).await?;
            return Ok(Parking::Parked);
        }
        match store(&self.nats, &dead_letter, Some((&queue, last))).await {
            Ok(sequence) => {
                journal::note_kept(&self.nats, sequence, &dead_letter).await?;
                Ok(Parking::Parked)
            }
            Err(PublishError::WrongSequence(_)) => Ok(Parking::Overtaken),
            Err(error) => Err(not_kept(&dead_letter, &error)),
        }
    }
}

/// The dead letter that a message claims to be the retry of.
fn retry_of(message: &Incoming) -> Option<Sequence> {
    message.headers.get(RETRY_OF)?.parse().ok().map(Sequence)
}

/// Keeps a dead letter; see [`DeadLetters::keep`].
pub(crate) async fn keep(nats: &Nats, dead_letter: &DeadLetter) -> Result<Sequence, Unavailable> {
    if let Some(sequence) = retry_of(&dead_letter.message)
        && let Some(kept) = wire::leader_at(nats, DEAD_LETTERS, sequence).await?
        && form::is_by(&kept, &dead_letter.consumer)
        && form::holds(&kept, &dead_letter.message)
    {
        journal::note_failed_again(nats, sequence, dead_letter).await?;
        return Ok(sequence);
    }
    let sequence = store(nats, dead_letter, None).await.map_err(|error| not_kept(dead_letter, &error))?;
    journal::note_kept(nats, sequence, dead_letter).await?;
    Ok(sequence)
}

fn not_kept(dead_letter: &DeadLetter, error: &PublishError) -> Unavailable {
    Unavailable {
        doing: format!("keeping a dead letter at {}", subjects::dead_letter(dead_letter)),
        cause: error.to_string(),
    }
}

/// Stores a dead letter; if `behind` is given, only behind the last one of its queue. Returns its place, new or old.
async fn store(
    nats: &Nats,
    dead_letter: &DeadLetter,
    behind: Option<(&Queue, Sequence)>,
) -> Result<Sequence, PublishError> {
    let subject = subjects::dead_letter(dead_letter);
    let expecting = |mut headers: HeaderMap| {
        headers.insert(header::EXPECTED_STREAM, DEAD_LETTERS);
        if let Some((queue, last)) = behind {
            queue.expect_last(&mut headers, last);
        }
        headers
    };
    let whole = expecting(form::whole(dead_letter).map_err(PublishError::Refused)?);
    let stored = match wire::publish(nats, &subject, whole, dead_letter.message.payload.clone()).await {
        Err(PublishError::TooLarge(_)) => {
            let mut messages = form::in_parts(&subject, dead_letter).map_err(PublishError::Refused)?;
            let parts = messages.len() as u64 - 1;
            messages[0].headers = expecting(std::mem::take(&mut messages[0].headers));
            publish_batch(nats, messages).await.map(|ack| Sequence(ack.sequence - parts))
        }
        stored => stored.map(|ack| Sequence(ack.sequence)),
    };
    match stored {
        Err(full @ PublishError::SubjectFull(_)) => {
            let there = wire::leader_last(nats, DEAD_LETTERS, &subject).await?;
            there.map(|message| message.sequence).ok_or(full)
        }
        stored => stored,
    }
}

/// The dead letter that holds a command's id, if there is one. The command then has no outcome until an operator acts.
pub(crate) async fn parked(nats: &Nats, id: &CommandId) -> Result<Option<ParkedCommand>, Unavailable> {
    for kind in [DeadLetterKind::Parked, DeadLetterKind::Failed] {
        let filter = Filter {
            kind: Some(kind),
            stream: Some(COMMANDS.to_owned()),
            command: Some(id.clone()),
            ..Filter::default()
        };
        let Some(message) = wire::leader_last(nats, DEAD_LETTERS, &filter.subject()).await? else { continue };
        let sequence = message.sequence;
        let Some(kept) = described(message)? else { continue };
        let cause = match kind {
            DeadLetterKind::Parked => kept.dead_letter.cause,
            DeadLetterKind::Failed => {
                format!("it failed, and is about to be retried as dead letter {sequence}")
            }
        };
        return Ok(Some(ParkedCommand { command_id: id.clone(), cause }));
    }
    Ok(None)
}

/// The dead letter at a position of the dead-letter stream. `None` if there is none, or only a part of one. A dead
/// dead letter that is kept in parts is returned without its message's headers and payload; [`read`] returns them.
pub async fn describe(nats: &Nats, sequence: Sequence) -> Result<Option<KeptDeadLetter>, Unavailable> {
    match wire::leader_at(nats, DEAD_LETTERS, sequence).await? {
        Some(message) => described(message),
        None => Ok(None),
    }
}

/// The whole dead letter at a position of the dead-letter stream. Also `None` if a part of it is missing: then its
/// removal was interrupted.
pub async fn read(nats: &Nats, sequence: Sequence) -> Result<Option<KeptDeadLetter>, Unavailable> {
    let Some(mut kept) = describe(nats, sequence).await? else { return Ok(None) };
    if kept.parts > 0 {
        let mut bytes = Vec::new();
        for n in 1..=kept.parts {
            let subject = subjects::dead_letter_part(&kept.subject, n);
            let Some(part) = wire::leader_last(nats, DEAD_LETTERS, &subject).await? else { return Ok(None) };
            bytes.extend_from_slice(&part.payload);
        }
        let message = &mut kept.dead_letter.message;
        (message.headers, message.payload) =
            form::from_parts(&bytes).map_err(|cause| unreadable(sequence, cause))?;
    }
    Ok(Some(kept))
}

/// The position of the dead letter at this subject.
pub async fn at(nats: &Nats, subject: &str) -> Result<Option<Sequence>, Unavailable> {
    Ok(wire::leader_last(nats, DEAD_LETTERS, subject).await?.map(|message| message.sequence))
}

/// The dead letter that a message of the stream describes. One that is kept in parts has no headers and payload here.
fn described(message: StoredMessage) -> Result<Option<KeptDeadLetter>, Unavailable> {
    let unreadable = |cause: String| unreadable(message.sequence, cause);
    let dead_letter = form::dead_letter(&message).map_err(unreadable)?;
    let parts = form::parts(&message).map_err(unreadable)?;
    Ok(dead_letter.map(|dead_letter| KeptDeadLetter {
        sequence: message.sequence,
        kept_at: message.stored_at,
        subject: message.subject,
        dead_letter,
        parts,
    }))
}

fn unreadable(sequence: Sequence, cause: String) -> Unavailable {
    Unavailable { doing: format!("reading the dead letter at sequence {sequence}"), cause }
}
