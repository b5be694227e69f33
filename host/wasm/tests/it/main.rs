//! Tests of the sandbox with components of every kind: refused, hostile, and real ones.

mod booking;
mod cache;
mod compiler;
mod contract;
mod frozen;
mod guests;
mod hostile;
mod polyglot;
mod refusals;
mod shared;
mod wasi;

use std::collections::BTreeMap;

use bytes::Bytes;
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::message::{Command, Event, Fingerprint, RecordedEvent};
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;
use pelton_wasm::{Limits, LoadError, LoadedPlugin, Plugins, Settings};

fn plugins() -> Plugins {
    Plugins::new(&Settings::default()).expect("an engine")
}

async fn load(component: Vec<u8>, limits: Limits) -> Result<LoadedPlugin, LoadError> {
    plugins().load("guest", component, limits).await
}

fn entity() -> Entity {
    let template = EntityTemplate::parse("booking.{room}.{day}").expect("a template");
    let tokens = BTreeMap::from([("room", "1".to_owned()), ("day", "2022-12-12".to_owned())]);
    template.entity(&tokens).expect("an entity")
}

fn command(r#type: &str, id: &str, data: &str) -> Command {
    Command {
        id: CommandId::new(id).expect("an id"),
        r#type: CommandType::new(r#type).expect("a type"),
        entity: entity(),
        logged_at: Sequence(1),
        time: Timestamp(1_670_803_200_000_000_000),
        correlation_id: id.to_owned(),
        causation_id: None,
        traceparent: None,
        principal: None,
        datacontenttype: Some("application/json".to_owned()),
        metadata: vec![("tenant".to_owned(), "a".to_owned())],
        context: Vec::new(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        fingerprint: Fingerprint::of(&[id.as_bytes()]),
        reply_to: None,
        expected: None,
        reference: None,
        depth: 0,
    }
}

fn event(r#type: &str, sequence: u64, data: Bytes) -> RecordedEvent {
    RecordedEvent {
        event: Event {
            id: format!("{sequence}:0"),
            source: "/booking/1.2022-12-12".to_owned(),
            r#type: r#type.to_owned(),
            version: 1,
            subject: Some(entity().id().to_owned()),
            time: Some(Timestamp(1_670_803_200_000_000_000)),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: vec![
                ("correlationid".to_owned(), "c1".to_owned()),
                ("causationid".to_owned(), "c1".to_owned()),
            ],
            data,
        },
        stream: "booking".into(),
        sequence: Sequence(sequence),
        part: 0,
        recorded_at: Timestamp(1_670_803_200_000_000_000),
    }
}
