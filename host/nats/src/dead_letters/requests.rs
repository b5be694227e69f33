//! Operators' requests to projections and sagas, and the processing of these requests.
//!
//! A request is a message at `dead-letter.<consumer>.<key>.retry`. The host that has done what it asks removes it. It
//! outlives the operator who made it and a host that worked on it.

use async_nats::HeaderMap;
use pelton_core::dead_letter::{DeadLetter, Place, Retries, RetryRequest};
use pelton_core::id::{Name, Sequence};
use pelton_core::store::Unavailable;
use serde::{Deserialize, Serialize};

use super::queue::{self, Queue};
use super::{Happening, StreamDeadLetters, describe, described, form, journal, read};
use crate::connection::Nats;
use crate::subjects::{self, DEAD_LETTERS};
use crate::wire::{self, PublishError, header};

/// The content of a request.
#[derive(Serialize, Deserialize)]
struct Body {
    key: String,
}

/// Makes a request. `None`: one is open, whose progress is unknown.
pub(super) async fn make(nats: &Nats, consumer: &str, key: &str) -> Result<Option<Sequence>, Unavailable> {
    let subject = subjects::retry_request(consumer, Some(key));
    let away = |cause: String| Unavailable { doing: format!("asking for a retry at {subject}"), cause };
    let body = serde_json::to_vec(&Body { key: key.to_owned() }).map_err(|e| away(e.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_STREAM, DEAD_LETTERS);
    match wire::publish(nats, &subject, headers, body.into()).await {
        Ok(ack) => Ok(Some(Sequence(ack.sequence))),
        Err(PublishError::SubjectFull(_)) => Ok(None),
        Err(error) => Err(away(error.to_string())),
    }
}

/// Whether the request at this position is open.
pub(super) async fn is_open(nats: &Nats, at: Sequence) -> Result<bool, Unavailable> {
    Ok(wire::leader_at(nats, DEAD_LETTERS, at).await?.is_some())
}

impl Retries for StreamDeadLetters {
    async fn request(&self, consumer: &Name) -> Result<Option<RetryRequest>, Unavailable> {
        let filter = subjects::retry_request(consumer.as_str(), None);
        let Some(message) = wire::leader_last(&self.nats, DEAD_LETTERS, &filter).await? else {
            return Ok(None);
        };
        match serde_json::from_slice::<Body>(&message.payload) {
            Ok(Body { key }) => Ok(Some(RetryRequest { at: message.sequence, key })),
            Err(error) => {
                tracing::warn!(subject = message.subject, "removed, because it is not a request: {error}");
                wire::delete(&self.nats, DEAD_LETTERS, message.sequence).await?;
                Ok(None)
            }
        }
    }

    async fn places(&self, consumer: &Name, key: Option<&str>) -> Result<Vec<Place>, Unavailable> {
        let mut places = Vec::new();
        let queue = Queue::with(consumer.as_str(), key);
        let mut from = Sequence(1);
        // Read from the leader, one after the other: a missed dead letter would be overtaken by a later one.
        while let Some(message) = queue.next(&self.nats, from).await? {
            from = Sequence(message.sequence.0 + 1);
            if let Some(kept) = described(message)?
                && kept.dead_letter.key.is_some()
            {
                places.push(Place { message: kept.dead_letter.message.sequence, dead_letter: kept.sequence });
            }
        }
        places.sort_unstable();
        Ok(places)
    }

    async fn dead_letter(&self, at: Sequence) -> Result<Option<DeadLetter>, Unavailable> {
        if let Some(kept) = read(&self.nats, at).await? {
            return Ok(Some(kept.dead_letter));
        }
        // The rest of a dead letter whose removal was interrupted.
        if let Some(kept) = describe(&self.nats, at).await? {
            queue::remove(&self.nats, &kept).await?;
        }
        Ok(None)
    }

    async fn settle(&self, at: Sequence) -> Result<(), Unavailable> {
        let Some(kept) = describe(&self.nats, at).await? else { return Ok(()) };
        let what = Happening::Settled { outcome: PROCESSED.to_owned() };
        journal::note(&self.nats, &kept, what).await?;
        queue::remove(&self.nats, &kept).await
    }

    async fn note_failure(&self, at: Sequence, cause: &str) -> Result<(), Unavailable> {
        let Some(kept) = describe(&self.nats, at).await? else { return Ok(()) };
        let what = Happening::FailedAgain { cause: form::bounded(cause).to_owned() };
        journal::note(&self.nats, &kept, what).await
    }

    async fn close(&self, request: &RetryRequest) -> Result<(), Unavailable> {
        wire::delete(&self.nats, DEAD_LETTERS, request.at).await
    }
}

/// The outcome of a message that has no outcome of its own.
pub(super) const PROCESSED: &str = "processed";
