//! Reading an entity's events back: from the start, or what came after a known one.
//!
//! Every event that Pelton wrote lists its entity's earlier events. So a cold load is two round trips however large
//! the stream is: the entity's last message, then the listed sequences side by side; more than 48 events are found
//! list by list. Where the lists do not add up (events that others wrote, a replica that is behind, a deleted message),
//! the entity is read by its filter instead.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pelton_core::cloudevents::CAUSATION_ID;
use pelton_core::command::backlinks::{Backlinks, HISTORY};
use pelton_core::command::ports::{Cause, StoredEvent};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::Fingerprint;
use pelton_core::recorded;
use pelton_core::store::Unavailable;
use pelton_core::subject::Entity;
use tokio::time::Instant;

use super::append::COMMAND;
use crate::connection::Nats;
use crate::subjects::{self, is_of_entity};
use crate::wire::{self, StoredMessage};

/// How many single reads of one entity are under way at once.
const MAX_PARALLEL_READS: usize = 64;
/// How many messages one batched read asks for.
const PAGE: usize = 500;
/// The wait before a replica that is behind its leader is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);

/// Reads entities of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    nats: Nats,
    stream: Name,
    shared: Arc<str>,
}

impl Loader {
    pub(crate) fn new(nats: &Nats, stream: &Name) -> Self {
        Self { nats: nats.clone(), stream: stream.clone(), shared: stream.as_str().into() }
    }

    /// All events of the entity, in order, without a gap; perhaps without those that other writers just stored.
    pub(crate) async fn load(&self, entity: &Entity) -> Result<Vec<StoredEvent>, Unavailable> {
        let Some(last) =
            wire::direct_last(&self.nats, self.stream.as_str(), &subjects::entity_filter(entity)).await?
        else {
            return Ok(Vec::new());
        };
        let last = self.event(entity, last)?;
        match self.by_history(entity, last).await? {
            Ok(events) => Ok(events),
            Err(why) => {
                tracing::debug!(stream = %self.stream, entity = entity.prefix(), "read by filter: {why}");
                self.by_filter(entity, Sequence::NONE).await
            }
        }
    }

    /// The entity's events after this sequence, in order, as the stream's leader has them now.
    pub(crate) async fn since(
        &self,
        entity: &Entity,
        after: Sequence,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let last =
            wire::leader_last(&self.nats, self.stream.as_str(), &subjects::entity_filter(entity)).await?;
        let Some(last) = last.filter(|last| last.sequence > after) else { return Ok(Vec::new()) };
        let last = self.event(entity, last)?;
        match between(&last, after) {
            Some(sequences) => {
                let read = sequences.into_iter().map(|sequence| self.listed_event(entity, sequence));
                let mut events: Vec<StoredEvent> =
                    futures::stream::iter(read).buffered(MAX_PARALLEL_READS).try_collect().await?;
                events.push(last);
                Ok(events)
            }
            None => self.tail_up_to(entity, after, last).await,
        }
    }

    /// Follows the lists from the last event to the first. The inner error says why they do not add up.
    async fn by_history(
        &self,
        entity: &Entity,
        last: StoredEvent,
    ) -> Result<Result<Vec<StoredEvent>, String>, Unavailable> {
        let mut oldest_first = vec![last];
        loop {
            let oldest = &oldest_first[0];
            let at = oldest.recorded.sequence;
            let Some(history) = &oldest.history else {
                return Ok(Err(format!("the event at sequence {at} lists no earlier ones")));
            };
            if history.count() == 0 {
                break;
            }
            let read = history.resolve(at).into_iter().map(|sequence| async move {
                let message = wire::direct_at(&self.nats, self.stream.as_str(), sequence).await?;
                message.map(|m| self.own_event(entity, m)).transpose().map(|e| (sequence, e.flatten()))
            });
            let listed: Vec<_> =
                futures::stream::iter(read).buffered(MAX_PARALLEL_READS).try_collect().await?;
            let mut events = Vec::with_capacity(listed.len() + oldest_first.len());
            for (sequence, event) in listed {
                match event {
                    Some(event) => events.push(event),
                    None => {
                        return Ok(Err(format!(
                            "sequence {sequence}, listed by {at}, holds no event of the entity"
                        )));
                    }
                }
            }
            events.append(&mut oldest_first);
            oldest_first = events;
        }
        // Every event says how many came before it: that is its own place, or something is missing or too many.
        let misplaced = oldest_first.iter().enumerate().find(|(place, event)| {
            event.history.as_ref().is_some_and(|history| history.count() != *place as u64)
        });
        Ok(match misplaced {
            Some((place, event)) => Err(format!(
                "the event at sequence {} is number {place}, but counts otherwise",
                event.recorded.sequence
            )),
            None => Ok(oldest_first),
        })
    }

    async fn by_filter(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredEvent>, Unavailable> {
        let mut events = Vec::new();
        let mut from = Sequence(after.0 + 1);
        loop {
            let tail = wire::direct_from(
                &self.nats,
                self.stream.as_str(),
                &subjects::entity_filter(entity),
                from,
                PAGE,
            )
            .await?;
            for message in tail.messages {
                from = Sequence(message.sequence.0 + 1);
                events.push(self.event(entity, message)?);
            }
            if !tail.more {
                return Ok(events);
            }
        }
    }

    /// What follows `after`, up to the leader's last event, where that does not list everything between. Replicas may
    /// be behind: they are asked until they have it.
    async fn tail_up_to(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredEvent,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let deadline = Instant::now() + self.nats.request_timeout();
        let wanted = last.recorded.sequence;
        let mut events: Vec<StoredEvent> = Vec::new();
        loop {
            let known = events.last().map_or(after, |event| event.recorded.sequence);
            events.extend(self.by_filter(entity, known).await?);
            if events.last().is_some_and(|event| event.recorded.sequence >= wanted) {
                return Ok(events);
            }
            if Instant::now() > deadline {
                return Err(Unavailable {
                    doing: format!(
                        "reading {} of stream {} up to sequence {wanted}",
                        subjects::entity_filter(entity),
                        self.stream
                    ),
                    cause: "the replicas stay behind their leader".to_owned(),
                });
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }

    /// A listed event, from a replica if it has it already.
    async fn listed_event(&self, entity: &Entity, sequence: Sequence) -> Result<StoredEvent, Unavailable> {
        let stream = self.stream.as_str();
        let message = match wire::direct_at(&self.nats, stream, sequence).await? {
            Some(message) => Some(message),
            None => wire::leader_at(&self.nats, stream, sequence).await?,
        };
        let event = message.map(|message| self.own_event(entity, message)).transpose()?.flatten();
        event.ok_or_else(|| Unavailable {
            doing: format!("reading sequence {sequence} of stream {stream}"),
            cause: format!("a later event of {} lists it, but it holds none of that entity", entity.prefix()),
        })
    }

    fn own_event(&self, entity: &Entity, message: StoredMessage) -> Result<Option<StoredEvent>, Unavailable> {
        if is_of_entity(entity, &message.subject) { self.event(entity, message).map(Some) } else { Ok(None) }
    }

    fn event(&self, entity: &Entity, message: StoredMessage) -> Result<StoredEvent, Unavailable> {
        let StoredMessage { subject, sequence, headers, payload, stored_at } = message;
        let recorded = recorded::read(&self.shared, sequence, stored_at, &headers, &payload);
        let recorded = recorded.map_err(|error| Unavailable {
            doing: format!("reading the events of {} in stream {}", entity.prefix(), self.stream),
            cause: format!("the message at sequence {sequence}, subject {subject}, {error}; only Pelton may publish there"),
        })?;
        let command = recorded.event.extension(CAUSATION_ID).and_then(|id| CommandId::new(id).ok());
        let fingerprint = headers.get(COMMAND).map(|text| Fingerprint(text.into()));
        let history = headers.get(HISTORY).and_then(|text| {
            Backlinks::parse(text)
                .inspect_err(|e| tracing::warn!(stream = %self.stream, %sequence, "{e}"))
                .ok()
        });
        Ok(StoredEvent {
            recorded,
            cause: command.zip(fingerprint).map(|(command, fingerprint)| Cause { command, fingerprint }),
            history,
        })
    }
}

/// The sequences between `after` and this event, if the event lists all of them.
fn between(last: &StoredEvent, after: Sequence) -> Option<Vec<Sequence>> {
    let history = last.history.as_ref()?;
    let listed = history.resolve(last.recorded.sequence);
    let reaches_back =
        listed.len() as u64 == history.count() || listed.first().is_some_and(|first| *first <= after);
    reaches_back.then(|| listed.into_iter().filter(|sequence| *sequence > after).collect())
}
