//! Storing an entity's events: all or none, and only on the state they were decided on.
//!
//! The expectation is always on the entity's one filter, `<prefix>.>`, carried by the first message. One event is a
//! plain publish. Several are an atomic batch; batches are dear one by one on a single server, so decisions that wait
//! are gathered into one, see [`crate::gather`].

use async_nats::HeaderMap;
use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::history::HISTORY;
use pelton_core::id::{Name, Sequence};
use pelton_core::ports::{AppendError, EventToStore};
use pelton_core::subject::Entity;

use crate::batch::{BatchMessage, MAX_BATCH_MESSAGES};
use crate::guarded::{GuardedWrite, Stored};
use crate::wire::{self, PublishError, header};

/// The header with the command's fingerprint, which tells a retry from another command that reuses the id.
pub(crate) const COMMAND: &str = "Pelton-Command";
/// The header with the digest of the component that decided the event.
pub(crate) const PLUGIN: &str = "Pelton-Plugin";

/// The events of one decision, ready to be sent.
pub(crate) fn decision(
    stream: &Name,
    entity: &Entity,
    expected: Sequence,
    events: &[EventToStore],
) -> Result<GuardedWrite, AppendError> {
    let filter = entity.filter();
    if events.is_empty() || events.len() > MAX_BATCH_MESSAGES {
        let why = format!("{} events of one decision; 1 to {MAX_BATCH_MESSAGES} are allowed", events.len());
        return Err(AppendError::Refused(why));
    }
    let mut messages = events.iter().map(|event| message(entity, event)).collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = messages.first_mut() {
        first.headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, expected.to_string());
        first.headers.insert(header::EXPECTED_SUBJECT, filter.as_str());
        first.headers.insert(header::EXPECTED_STREAM, stream.as_str());
    }
    Ok(GuardedWrite { filter, messages })
}

/// Where the events of a decision are, or what to do instead.
pub(crate) fn appended(stored: Result<Stored, PublishError>) -> Result<Vec<Sequence>, AppendError> {
    match stored {
        // A message id that the server knows: perhaps from this decision's earlier try, perhaps not.
        Ok(Stored { duplicate: true, sequences }) => Err(AppendError::Unclear(format!(
            "an event with its id is stored at sequence {}",
            sequences.last().copied().unwrap_or_default()
        ))),
        Ok(stored) => Ok(stored.sequences),
        Err(error) => Err(append_error(error)),
    }
}

fn message(entity: &Entity, event: &EventToStore) -> Result<BatchMessage, AppendError> {
    let EventToStore { subject, event, history, fingerprint, decided_by } = event;
    if !belongs(entity, subject) {
        return Err(AppendError::Refused(format!(
            "the subject {subject} is not one of entity {}",
            entity.prefix()
        )));
    }
    let mut headers = cloudevents::encode(event);
    headers.push(HISTORY, history.to_string());
    headers.push(COMMAND, fingerprint.0.as_ref());
    headers.push(PLUGIN, decided_by.as_str());
    let mut headers: HeaderMap = wire::to_wire(&headers).map_err(|e| AppendError::Refused(e.to_string()))?;
    let id = event
        .id
        .parse::<async_nats::HeaderValue>()
        .map_err(|e| AppendError::Refused(format!("the event's id: {e}")))?;
    headers.insert(header::MSG_ID, id);
    Ok(BatchMessage { subject: subject.clone(), headers, payload: Bytes::clone(&event.data) })
}

/// Whether an event at this subject is one of the entity's.
pub(crate) fn belongs(entity: &Entity, subject: &str) -> bool {
    subject.strip_prefix(entity.prefix()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
}

/// What an answer means to the flow. Whatever does not say for sure that nothing was stored is unclear.
pub(crate) fn append_error(error: PublishError) -> AppendError {
    match error {
        PublishError::WrongSequence(_) => AppendError::Conflict,
        PublishError::TooLarge(why) | PublishError::Refused(why) => AppendError::Refused(why),
        PublishError::SubjectFull(error) | PublishError::NotNow(error) => {
            AppendError::Unclear(error.to_string())
        }
        PublishError::Unclear(away) => AppendError::Unclear(away.to_string()),
    }
}
