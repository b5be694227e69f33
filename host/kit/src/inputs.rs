//! From what a case says to what a plugin is given, with all that the host would add, always the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::message::{Command, Event, Fingerprint, RecordedEvent};
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;
use serde_json::Value;

use crate::case::{GivenCommand, GivenEvent};

/// When everything in a case happens: 2026-01-01.
const TIME: Timestamp = Timestamp(1_767_225_600_000_000_000);
/// The first token of an entity's subject.
const PREFIX: &str = "entity";

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

/// The data as the bytes of a message. Text that is no JSON cannot be said in a case.
fn bytes(data: &Value) -> Bytes {
    match data {
        Value::Null => Bytes::from_static(b"{}"),
        data => data.to_string().into(),
    }
}

/// The events of a case at the places 1, 2, 3, … of a stream.
pub(crate) fn events(given: &[GivenEvent], entity: &str) -> Vec<RecordedEvent> {
    given.iter().zip(1..).map(|(event, at)| self::event(event, entity, at)).collect()
}

/// One event at a place of the stream.
pub(crate) fn event(given: &GivenEvent, entity: &str, at: u64) -> RecordedEvent {
    let entity = given.entity.as_deref().unwrap_or(entity);
    RecordedEvent {
        event: Event {
            id: format!("given-{at}:0"),
            source: format!("/{PREFIX}/{entity}"),
            r#type: given.event.clone(),
            version: given.version,
            subject: Some(entity.to_owned()),
            time: Some(TIME),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: vec![
                ("correlationid".to_owned(), "case".to_owned()),
                ("causationid".to_owned(), format!("given-{at}")),
            ],
            data: bytes(&given.data),
        },
        stream: "cases".into(),
        sequence: Sequence(at),
        part: 0,
        recorded_at: TIME,
    }
}

/// A command on an entity.
pub(crate) fn command(given: &GivenCommand, entity: &str) -> Result<Command, String> {
    let wrong = |what: String| format!("the command {:?}: {what}", given.command);
    let entity = self::entity(entity)?;
    let data = bytes(&given.data);
    Ok(Command {
        id: CommandId::new("case").map_err(|e| wrong(e.to_string()))?,
        r#type: CommandType::new(&given.command).map_err(|e| wrong(e.to_string()))?,
        fingerprint: Fingerprint::of_command(&given.command, &entity, &data),
        entity,
        logged_at: Sequence(1),
        time: TIME,
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
    })
}
