//! Entities of the hotel as a command flow writes them: with ids, histories and expectations.

use std::collections::BTreeMap;

use pelton_core::cloudevents::CAUSATION_ID;
use pelton_core::command::backlinks::Backlinks;
use pelton_core::command::ports::{AppendError, CommandStore, EventToStore, StoredEvent};
use pelton_core::id::{CommandType, Sequence};
use pelton_core::message::{Event, Fingerprint};
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_nats::topology::{EventStream, HandlerConsumer, Topology};
use pelton_nats::{Nats, StoreSettings, StreamStore};

use crate::support::name;

pub(crate) fn entity(room: &str) -> Entity {
    let template = EntityTemplate::parse("booking.{room}").unwrap();
    template.entity(&BTreeMap::from([("room", room.to_owned())])).unwrap()
}

/// One event stream and one handler on it.
pub(crate) fn hotel() -> Topology {
    Topology {
        streams: vec![EventStream { name: name("hotel"), subjects: vec!["booking.>".into()] }],
        handlers: vec![HandlerConsumer {
            name: name("booking"),
            commands: vec![CommandType::new("book-room").unwrap(), CommandType::new("check-in").unwrap()],
            max_ack_pending: 64,
        }],
        ..Topology::default()
    }
}

pub(crate) async fn store(nats: &Nats, settings: StoreSettings) -> StreamStore {
    let replicas = if settings.replicated { 3 } else { 1 };
    Topology { replicas, ..hotel() }.ensure(nats).await.unwrap();
    StreamStore::start(nats, &name("hotel"), settings)
}

/// The events of one command's decision on the state that `history` stands for.
pub(crate) fn decision(entity: &Entity, history: &Backlinks, command: &str, count: u32) -> Vec<EventToStore> {
    let event = |n: u32| EventToStore {
        subject: entity.event_subject("room-booked", 1),
        event: Event {
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
        },
        history: history.after_adjacent(n),
        fingerprint: Fingerprint::of(&[command.as_bytes()]),
        decided_by: "sha256:00".into(),
    };
    (0..count).map(event).collect()
}

/// Writes one entity as a single host would: every append on the state that the one before left.
pub(crate) struct Writer<'a> {
    pub(crate) store: &'a StreamStore,
    pub(crate) entity: Entity,
    pub(crate) history: Backlinks,
    pub(crate) at: Sequence,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(store: &'a StreamStore, room: &str) -> Self {
        Self { store, entity: entity(room), history: Backlinks::default(), at: Sequence::NONE }
    }

    pub(crate) async fn append(&mut self, command: &str, count: u32) -> Result<Vec<Sequence>, AppendError> {
        let events = decision(&self.entity, &self.history, command, count);
        let sequences = self.store.append(&self.entity, self.at, &events).await?;
        for sequence in &sequences {
            self.history.push(*sequence);
            self.at = *sequence;
        }
        Ok(sequences)
    }
}

pub(crate) fn ids(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|e| e.recorded.event.id.as_str()).collect()
}
