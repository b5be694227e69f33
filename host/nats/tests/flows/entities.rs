//! Entities of the hotel as a command flow writes them: with ids, histories and expectations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pelton_core::cloudevents::CAUSATION_ID;
use pelton_core::command::backlinks::Backlinks;
use pelton_core::command::outcome::{Mark, MarkOutcome};
use pelton_core::command::ports::{
    AppendError, Cause, CommandStore, EntityMessage, Links, NewMessage, StoredEvent, StoredMessage,
};
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::intake::{CommandRoute, Intake};
use pelton_core::message::{Event, Fingerprint};
use pelton_core::partition::Partitions;
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;
use pelton_nats::topology::{EventStream, HandlerConsumer, Topology};
use pelton_nats::{Commands, Nats, StoreSettings, StreamStore};

use crate::support::name;

pub(crate) fn entity(room: &str) -> Entity {
    let template = EntityTemplate::parse("booking.{room}").unwrap();
    template.entity(&BTreeMap::from([("room", room.to_owned())])).unwrap()
}

fn route() -> CommandRoute {
    CommandRoute {
        template: EntityTemplate::parse("booking.{room}").unwrap(),
        tokens: BTreeMap::from([("room".to_owned(), "/room".to_owned())]),
        partitions: Partitions::ONE,
    }
}

/// A handler of rooms that takes commands of these types.
pub(crate) fn handler(id: &str, commands: &[&str]) -> HandlerConsumer {
    let commands = commands.iter().map(|r#type| (CommandType::new(r#type).unwrap(), route()));
    HandlerConsumer {
        id: name(id),
        commands: commands.collect(),
        partitions: Partitions::ONE,
        max_ack_pending: 64,
    }
}

/// One event stream and one handler on it.
pub(crate) fn hotel() -> Topology {
    Topology {
        streams: vec![EventStream {
            name: name("hotel"),
            subjects: vec!["booking.>".into()],
            limits: pelton_nats::topology::StreamLimits::default(),
        }],
        handlers: vec![handler("booking", &["book-room", "check-in"])],
        ..Topology::default()
    }
}

pub(crate) async fn store(nats: &Nats, settings: StoreSettings) -> StreamStore {
    let replicas = if settings.replicated { 3 } else { 1 };
    Topology { replicas, ..hotel() }.ensure(nats).await.unwrap();
    StreamStore::start(nats, &name("hotel"), settings)
}

/// The events of one command's decision on the state that these backlinks stand for.
pub(crate) fn decision(entity: &Entity, backlinks: &Backlinks, command: &str, count: u32) -> Vec<NewMessage> {
    let event = |n: u32| NewMessage {
        links: links(backlinks.in_batch((1..n + 1).rev()), command, count),
        body: EntityMessage::Event(Event {
            id: format!("{command}:{n}"),
            source: "/booking".into(),
            r#type: "room-booked".into(),
            version: 1,
            subject: Some(entity.id().into()),
            time: None,
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            extensions: vec![(CAUSATION_ID.into(), command.into())],
            data: format!("\"{command}:{n}\"").into(),
        }),
        keep: None,
    };
    (0..count).map(event).collect()
}

/// The end of a command without events.
pub(crate) fn mark(
    entity: &Entity,
    backlinks: &Backlinks,
    command: &str,
    outcome: MarkOutcome,
    keep: Option<Duration>,
) -> NewMessage {
    let links = links(backlinks.clone(), command, 0);
    let mark = Mark {
        command_id: links.cause.command.clone(),
        command_type: CommandType::new("book-room").unwrap(),
        entity: entity.id().into(),
        correlation_id: command.into(),
        fingerprint: links.cause.fingerprint.clone(),
        decided_by: links.cause.decided_by.clone(),
        time: Timestamp::now(),
        outcome,
    };
    NewMessage { links, body: EntityMessage::Mark(Box::new(mark)), keep }
}

fn links(backlinks: Backlinks, command: &str, events: u32) -> Links {
    let cause = Cause {
        command: CommandId::new(command).unwrap(),
        fingerprint: Fingerprint::of(&[command.as_bytes()]),
        logged_at: Sequence(7),
        events,
        decided_by: "sha256:00".into(),
    };
    Links { backlinks, cause, held: false }
}

/// The events in messages that are about to be stored.
pub(crate) fn event_in(message: &mut NewMessage) -> &mut Event {
    match &mut message.body {
        EntityMessage::Event(event) => event,
        EntityMessage::Mark(mark) => panic!("{mark:?}"),
    }
}

/// All events of an entity, as a cold load reads them.
pub(crate) async fn load(store: &StreamStore, entity: &Entity) -> Vec<StoredEvent> {
    match store.last(entity).await.unwrap() {
        Some(last) => store.history(entity, Sequence::NONE, last).await.unwrap(),
        None => Vec::new(),
    }
}

/// Its events after this sequence.
pub(crate) async fn since(store: &StreamStore, entity: &Entity, after: Sequence) -> Vec<StoredEvent> {
    let tail = store.tail(entity, after).await.unwrap();
    tail.into_iter().filter_map(StoredMessage::into_event).collect()
}

/// Finds the commands of the hotel.
pub(crate) fn commands(nats: &Nats, replicated: bool) -> Commands {
    let types = ["book-room", "check-in"].map(str::to_owned);
    let intake = Intake::new(types.clone().map(|r#type| (r#type, route())).into());
    Commands::new(nats, &Arc::new(intake), types.map(|r#type| (r#type, name("hotel"))), replicated)
}

/// Writes one entity as a single host would: every append on the state that the one before left.
pub(crate) struct Writer<'a> {
    pub(crate) store: &'a StreamStore,
    pub(crate) entity: Entity,
    pub(crate) backlinks: Backlinks,
    pub(crate) at: Sequence,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(store: &'a StreamStore, room: &str) -> Self {
        Self { store, entity: entity(room), backlinks: Backlinks::default(), at: Sequence::NONE }
    }

    pub(crate) async fn append(&mut self, command: &str, count: u32) -> Result<Vec<Sequence>, AppendError> {
        let events = decision(&self.entity, &self.backlinks, command, count);
        let sequences = self.store.append(&self.entity, self.at, &events).await?;
        for sequence in &sequences {
            self.backlinks.push(*sequence);
            self.at = *sequence;
        }
        Ok(sequences)
    }

    pub(crate) async fn mark(
        &mut self,
        command: &str,
        outcome: MarkOutcome,
        keep: Option<Duration>,
    ) -> Result<Sequence, AppendError> {
        let mark = mark(&self.entity, &self.backlinks, command, outcome, keep);
        self.at = self.store.append(&self.entity, self.at, &[mark]).await?[0];
        Ok(self.at)
    }
}

pub(crate) fn ids(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|e| e.body.event.id.as_str()).collect()
}
