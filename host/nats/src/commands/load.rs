//! Reading an entity back: its last message, its events from the start, what came after a known one, and single marks.
//!
//! Every message that Pelton wrote lists its entity's earlier events. So a cold load is two round trips however large
//! the stream is: the entity's last message, then the listed sequences side by side; more than 48 events are found
//! list by list. Where the lists do not add up (events that others wrote, a replica that is behind, a deleted message),
//! the entity is read by its filter instead.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pelton_core::command::backlinks::{BACKLINKS, Backlinks};
use pelton_core::command::ports::{
    Cause, EntityMessage, Links, Stored, StoredEvent, StoredMark, StoredMessage,
};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::{Fingerprint, Headers};
use pelton_core::recorded;
use pelton_core::store::{ReadError, Unavailable, Unreadable};
use pelton_core::subject::Entity;
use tokio::time::Instant;

use super::append::{COMMAND, HELD, PLUGIN};
use crate::connection::Nats;
use crate::subjects::{self, is_mark, is_of_entity};
use crate::wire;

/// How many single reads of one entity are under way at once.
const MAX_PARALLEL_READS: usize = 64;
/// How many messages one batched read asks for.
const PAGE: usize = 500;
/// The most bytes of marks that are read to learn which there are: a hundred of them, or a few hundred.
const MAX_MARKS_BYTES: usize = 128 * 1024;
/// The wait before a replica that is behind its leader is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(10);

/// Reads entities of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    nats: Nats,
    stream: Name,
    shared: Arc<str>,
    /// Whether the stream has more than one replica, so that a read may be answered by one that is behind.
    replicated: bool,
}

impl Loader {
    pub(crate) fn new(nats: &Nats, stream: &Name, replicated: bool) -> Self {
        Self { nats: nats.clone(), stream: stream.clone(), shared: stream.as_str().into(), replicated }
    }

    pub(crate) fn stream(&self) -> &str {
        self.stream.as_str()
    }

    /// The entity's last message, perhaps without what other writers just stored.
    pub(crate) async fn last(&self, entity: &Entity) -> Result<Option<StoredMessage>, ReadError> {
        let filter = subjects::entity_filter(entity);
        let last = wire::direct_last(&self.nats, self.stream.as_str(), &filter).await?;
        last.map(|message| self.message(message)).transpose()
    }

    /// The entity's events after a sequence and up to a message of its own, in order, without a gap.
    pub(crate) async fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let up_to = last.sequence;
        match self.by_backlinks(entity, after, last).await? {
            Ok(events) => Ok(events),
            Err(why) => {
                tracing::debug!(stream = %self.stream, entity = entity.prefix(), "read by filter: {why}");
                let mut messages = self.by_filter(entity, after).await?;
                messages.retain(|message| message.sequence <= up_to);
                Ok(messages.into_iter().filter_map(StoredMessage::into_event).collect())
            }
        }
    }

    /// The entity's messages after this sequence, in order, as the stream's leader has them now.
    pub(crate) async fn tail(
        &self,
        entity: &Entity,
        after: Sequence,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        if !self.replicated {
            return self.by_filter(entity, after).await;
        }
        let filter = subjects::entity_filter(entity);
        let last = wire::leader_last(&self.nats, self.stream.as_str(), &filter).await?;
        let Some(wanted) = last.map(|last| last.sequence).filter(|last| *last > after) else {
            return Ok(Vec::new());
        };
        // Replicas may be behind: they are asked until they have it.
        let deadline = Instant::now() + self.nats.request_timeout();
        let mut messages: Vec<StoredMessage> = Vec::new();
        loop {
            let known = messages.last().map_or(after, |message| message.sequence);
            messages.extend(self.by_filter(entity, known).await?);
            if messages.last().is_some_and(|message| message.sequence >= wanted) {
                return Ok(messages);
            }
            if Instant::now() > deadline {
                let doing = format!("reading {filter} of stream {} up to sequence {wanted}", self.stream);
                let cause = "the replicas stay behind their leader".to_owned();
                return Err(Unavailable { doing, cause }.into());
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }

    /// The last mark of a command, as the stream's leader has it.
    pub(crate) async fn mark(
        &self,
        entity: &Entity,
        command: &CommandId,
    ) -> Result<Option<StoredMark>, ReadError> {
        let subject = subjects::mark(entity, command);
        let found = match self.replicated {
            true => wire::leader_last(&self.nats, self.stream.as_str(), &subject).await?,
            false => wire::direct_last(&self.nats, self.stream.as_str(), &subject).await?,
        };
        let Some(message) = found else { return Ok(None) };
        let Stored { sequence, links, body } = self.message(message)?;
        match body {
            EntityMessage::Mark(mark) => Ok(Some(Stored { sequence, links, body: *mark })),
            EntityMessage::Event(_) => Ok(None),
        }
    }

    /// The commands that have a mark, see [`pelton_core::command::ports::CommandStore::marks`].
    pub(crate) async fn marks(
        &self,
        entity: &Entity,
        up_to: Sequence,
    ) -> Result<Option<Vec<CommandId>>, ReadError> {
        let filter = subjects::marks(entity);
        let lasts = wire::direct_lasts(&self.nats, self.stream.as_str(), &[&filter], MAX_MARKS_BYTES).await?;
        if lasts.messages.is_empty() {
            // Where there are replicas, one of them has none, which says nothing of the others.
            let none = !self.replicated
                || wire::leader_last(&self.nats, self.stream.as_str(), &filter).await?.is_none();
            return Ok(none.then(Vec::new));
        }
        if lasts.more || lasts.up_to < up_to.0 {
            return Ok(None);
        }
        let id = |message: wire::StoredMessage| CommandId::new(message.subject.rsplit('.').next()?).ok();
        Ok(Some(lasts.messages.into_iter().filter_map(id).collect()))
    }

    /// Events that are known to lie one behind the other.
    pub(crate) async fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let read = (0..u64::from(count)).map(|n| self.listed_event(entity, Sequence(first.0 + n)));
        futures::stream::iter(read).buffered(MAX_PARALLEL_READS).try_collect().await
    }

    /// Follows the lists from the last message back to the first event after a sequence. The inner error says why they
    /// do not add up.
    async fn by_backlinks(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Result<Vec<StoredEvent>, String>, ReadError> {
        let (mut at, mut links) = (last.sequence, last.links.clone());
        let mut events: Vec<StoredEvent> = last.into_event().into_iter().collect();
        let mut place = None;
        loop {
            let Some(Links { backlinks, .. }) = links else {
                return Ok(Err(format!("message {at} lists no earlier events")));
            };
            if place.is_some_and(|place| place != backlinks.count()) {
                return Ok(Err(format!("message {at} counts {} events before it", backlinks.count())));
            }
            let listed = backlinks.resolve(at);
            let from = listed.partition_point(|sequence| *sequence <= after);
            let ends_here = from > 0 || listed.len() as u64 == backlinks.count();
            let read = listed[from..].iter().copied().map(|sequence| async move {
                let message = wire::direct_at(&self.nats, self.stream.as_str(), sequence).await?;
                let own = message.filter(|message| is_of_entity(entity, &message.subject));
                let own = own.map(|message| self.message(message)).transpose()?;
                Ok::<_, ReadError>((sequence, own.and_then(StoredMessage::into_event)))
            });
            let read: Vec<_> = futures::stream::iter(read).buffered(MAX_PARALLEL_READS).try_collect().await?;
            let mut earlier = Vec::with_capacity(read.len() + events.len());
            for (sequence, event) in read {
                match event {
                    Some(event) => earlier.push(event),
                    None => {
                        return Ok(Err(format!("sequence {sequence}, listed by {at}, holds no event of it")));
                    }
                }
            }
            // Every event says how many came before it: that is its own place, or something is missing or too many.
            let first = backlinks.count() - (listed.len() as u64 - from as u64);
            let misplaced = (first..).zip(&earlier).find(|(place, event)| {
                event.links.as_ref().is_some_and(|links| links.backlinks.count() != *place)
            });
            if let Some((place, event)) = misplaced {
                return Ok(Err(format!(
                    "the event at sequence {} is number {place}, but counts otherwise",
                    event.sequence
                )));
            }
            earlier.append(&mut events);
            events = earlier;
            if ends_here {
                events.retain(|event| event.sequence > after);
                return Ok(Ok(events));
            }
            let Some(oldest) = events.first() else { return Ok(Ok(events)) };
            (at, links, place) = (oldest.sequence, oldest.links.clone(), Some(first));
        }
    }

    async fn by_filter(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredMessage>, ReadError> {
        let filter = subjects::entity_filter(entity);
        let mut messages = Vec::new();
        let mut from = Sequence(after.0 + 1);
        loop {
            let page = wire::direct_from(&self.nats, self.stream.as_str(), &filter, from, PAGE).await?;
            for message in page.messages {
                from = Sequence(message.sequence.0 + 1);
                messages.push(self.message(message)?);
            }
            if !page.more {
                return Ok(messages);
            }
        }
    }

    /// A listed event, from a replica if it has it already.
    async fn listed_event(&self, entity: &Entity, sequence: Sequence) -> Result<StoredEvent, ReadError> {
        let stream = self.stream.as_str();
        let message = match wire::direct_at(&self.nats, stream, sequence).await? {
            Some(message) => Some(message),
            None => wire::leader_at(&self.nats, stream, sequence).await?,
        };
        let own = message.filter(|message| is_of_entity(entity, &message.subject));
        let event = own.map(|message| self.message(message)).transpose()?.and_then(StoredMessage::into_event);
        event.ok_or_else(|| {
            let doing = format!("reading sequence {sequence} of stream {stream}");
            let cause = format!("it should hold an event of {}, and does not", entity.prefix());
            Unavailable { doing, cause }.into()
        })
    }

    /// What a message of an entity is.
    pub(crate) fn message(&self, message: wire::StoredMessage) -> Result<StoredMessage, ReadError> {
        let wire::StoredMessage { subject, sequence, headers, payload, stored_at } = message;
        let unreadable = |cause: String| {
            let stream = self.stream.to_string();
            Unreadable { stream, sequence, subject: subject.clone(), cause }
        };
        let body = if is_mark(&subject) {
            let mark = serde_json::from_slice(&payload);
            EntityMessage::Mark(
                mark.map_err(|error| unreadable(format!("is not the mark of a command: {error}")))?,
            )
        } else {
            let event = recorded::read(&self.shared, sequence, stored_at, &headers, &payload);
            EntityMessage::Event(
                event.map_err(|error| unreadable(format!("{error}; only Pelton may publish there")))?,
            )
        };
        let links = links(&headers).unwrap_or_else(|why| {
            tracing::warn!(stream = %self.stream, %sequence, subject, "{why}");
            None
        });
        Ok(Stored { sequence, links, body })
    }
}

/// What Pelton wrote beside a message, if it wrote it. The error says what of it cannot be read.
fn links(headers: &Headers) -> Result<Option<Links>, String> {
    let (Some(backlinks), Some(command)) = (headers.get(BACKLINKS), headers.get(COMMAND)) else {
        return Ok(None);
    };
    let backlinks = Backlinks::parse(backlinks).map_err(|error| error.to_string())?;
    let decided_by = headers.get(PLUGIN).unwrap_or_default().to_owned();
    let cause = cause(command, decided_by)
        .ok_or_else(|| format!("the header {COMMAND} has the value {command:?}, which names no command"))?;
    Ok(Some(Links { backlinks, cause, held: headers.get(HELD).is_some() }))
}

/// The command that a message followed from, if Pelton wrote it and it can be read.
pub(crate) fn cause_of(headers: &Headers) -> Option<Cause> {
    cause(headers.get(COMMAND)?, headers.get(PLUGIN).unwrap_or_default().to_owned())
}

fn cause(text: &str, decided_by: String) -> Option<Cause> {
    let mut parts = text.split(' ');
    let (id, fingerprint, logged_at, events) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Cause {
        command: CommandId::new(id).ok()?,
        fingerprint: Fingerprint(fingerprint.into()),
        logged_at: Sequence(logged_at.parse().ok()?),
        events: events.parse().ok()?,
        decided_by,
    })
}
