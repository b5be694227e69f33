//! The inputs of a plugin, with everything that the host would add. Each run has the same.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents::{CAUSATION_ID, CORRELATION_ID};
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::message::{Command, Event, Fingerprint, NewEvent, RecordedEvent};
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;
use serde_json::{Map, Value};

use crate::case::{GivenCommand, GivenEvent};

/// When a case begins: 2026-01-01.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000_000_000);
/// The first token of an entity's subject.
const PREFIX: &str = "entity";

/// The time `by` later.
pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

/// The entity with this id: tokens, joined by dots.
pub(crate) fn entity(id: &str) -> Result<Entity, String> {
    let names: Vec<String> = (0..id.split('.').count()).map(|n| format!("t{n}")).collect();
    let template: String = names.iter().map(|name| format!(".{{{name}}}")).collect();
    let template = EntityTemplate::parse(&format!("{PREFIX}{template}"));
    let template = template.map_err(|e| format!("the entity {id:?}: {e}"))?;
    let tokens: BTreeMap<&str, String> =
        names.iter().map(String::as_str).zip(id.split('.').map(str::to_owned)).collect();
    template.entity(&tokens).map_err(|(_, why)| format!("the entity {id:?}: {why}"))
}

/// The data as the bytes of a message. A case cannot hold data that are not JSON.
pub(crate) fn bytes(data: &Value) -> Bytes {
    match data {
        Value::Null => Bytes::from_static(b"{}"),
        data => data.to_string().into(),
    }
}

/// A message's bytes as JSON, or as text if they are not JSON.
pub(crate) fn read(data: &[u8]) -> Value {
    serde_json::from_slice(data).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned()))
}

fn pairs(metadata: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    metadata.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The events of a case, at the sequences 1, 2, 3, … of a stream.
pub(crate) fn events(given: &[GivenEvent], entity: &str, time: Timestamp) -> Vec<RecordedEvent> {
    given.iter().zip(1..).map(|(event, at)| self::event(event, entity, time, at)).collect()
}

/// One event at this sequence of the stream.
pub(crate) fn event(given: &GivenEvent, entity: &str, time: Timestamp, at: u64) -> RecordedEvent {
    let entity = given.entity.as_deref().unwrap_or(entity);
    let time = given.at.unwrap_or(time);
    let mut event = event_of(&given.event, given.version, entity, bytes(&given.data), time, at);
    event.event.extensions.extend(pairs(&given.metadata));
    event
}

/// An event of this type at this sequence of the stream.
pub(crate) fn event_of(
    r#type: &str,
    version: u32,
    entity: &str,
    data: Bytes,
    time: Timestamp,
    at: u64,
) -> RecordedEvent {
    RecordedEvent {
        event: Event {
            id: format!("given-{at}:0"),
            source: format!("/{PREFIX}/{entity}"),
            r#type: r#type.to_owned(),
            version,
            subject: Some(entity.to_owned()),
            time: Some(time),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: vec![
                (CORRELATION_ID.to_owned(), "case".to_owned()),
                (CAUSATION_ID.to_owned(), format!("given-{at}")),
            ],
            data,
        },
        stream: "cases".into(),
        sequence: Sequence(at),
        part: 0,
        recorded_at: time,
    }
}

/// A command on an entity.
pub(crate) fn command(
    given: &GivenCommand,
    entity: &str,
    time: Timestamp,
    id: &str,
) -> Result<Command, String> {
    let mut command = command_of(&given.command, bytes(&given.data), entity, time, id)?;
    command.metadata = pairs(&given.metadata);
    command.principal.clone_from(&given.principal);
    Ok(command)
}

/// A command of this type.
pub(crate) fn command_of(
    r#type: &str,
    data: Bytes,
    entity: &str,
    time: Timestamp,
    id: &str,
) -> Result<Command, String> {
    let wrong = |what: String| format!("the command {type:?}: {what}");
    let entity = self::entity(entity)?;
    Ok(Command {
        id: CommandId::new(id).map_err(|e| wrong(e.to_string()))?,
        r#type: CommandType::new(r#type).map_err(|e| wrong(e.to_string()))?,
        fingerprint: Fingerprint::of_command(r#type, &entity, &data),
        entity,
        logged_at: Sequence(1),
        time,
        correlation_id: "case".to_owned(),
        causation_id: None,
        traceparent: None,
        datacontenttype: Some("application/json".to_owned()),
        principal: None,
        metadata: Vec::new(),
        context: Vec::new(),
        data,
        reply_to: None,
        expected: None,
        reference: None,
        depth: 0,
    })
}

/// A handler's new events as the stream stores them behind these events.
pub(crate) fn stored(
    command: &Command,
    decided: &[NewEvent],
    behind: &[RecordedEvent],
) -> Vec<RecordedEvent> {
    let last = behind.last().map_or(0, |event| event.sequence.0);
    let stored = decided.iter().zip(0u64..).map(|(new, n)| {
        let mut event = event_of(
            &new.r#type,
            new.version,
            command.entity.id(),
            new.data.clone(),
            command.time,
            last + 1 + n,
        );
        event.event.id = format!("{}:{n}", command.id);
        event.event.extensions[1].1 = command.id.to_string();
        event.event.extensions.extend(new.extensions.iter().cloned());
        event.event.datacontenttype = new.datacontenttype.clone().or(event.event.datacontenttype);
        event
    });
    stored.collect()
}
