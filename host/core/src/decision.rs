//! What a plugin decided, checked against what it declared, and made into events to store.

use crate::cloudevents::{
    CAUSATION_ID, CORRELATION_ID, DATA_VERSION, MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, TRACEPARENT,
    is_extension_name,
};
use crate::history::History;
use crate::message::{Command, Event, NewEvent};
use crate::ports::{EventToStore, HandlerDescriptor};

/// The most events of one decision.
pub const MAX_EVENTS: usize = 100;
/// The most bytes of one event's data.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;
/// The most bytes of one decision's events together: with headers they fit the server's default `max_payload` of 1 MiB.
pub const MAX_DECISION_BYTES: usize = 900 * 1024;

/// The attributes of CloudEvents itself and those that the host writes.
const RESERVED: [&str; 13] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    DATA_VERSION,
    CORRELATION_ID,
    CAUSATION_ID,
    TRACEPARENT,
];

/// Whether a plugin may use this name for an extension attribute of an event or the metadata of a command.
#[must_use]
pub fn is_plugin_extension(name: &str) -> bool {
    is_extension_name(name) && !RESERVED.contains(&name)
}

/// Checks a decision against the plugin's descriptor and the limits of the contract. The error says what is wrong.
pub fn check(events: &[NewEvent], descriptor: &HandlerDescriptor) -> Result<(), String> {
    if events.len() > MAX_EVENTS {
        return Err(format!("it decided {} events; at most {MAX_EVENTS} are allowed", events.len()));
    }
    let bytes: usize = events.iter().map(|e| e.data.len()).sum();
    if bytes > MAX_DECISION_BYTES {
        return Err(format!(
            "its events have {bytes} bytes together; at most {MAX_DECISION_BYTES} are allowed"
        ));
    }
    events.iter().try_for_each(|event| check_event(event, descriptor))
}

fn check_event(event: &NewEvent, descriptor: &HandlerDescriptor) -> Result<(), String> {
    let NewEvent { r#type, version, extensions, data, datacontenttype } = event;
    if !descriptor.events.iter().any(|t| t.r#type == *r#type && t.version == *version) {
        return Err(format!(
            "it decided an event of type {type:?} version {version}, which its descriptor does not list"
        ));
    }
    if data.len() > MAX_EVENT_BYTES {
        return Err(format!(
            "its event {type:?} has {} bytes; at most {MAX_EVENT_BYTES} are allowed",
            data.len()
        ));
    }
    if extensions.len() > MAX_EXTENSIONS {
        return Err(format!(
            "its event {type:?} has {} extensions; at most {MAX_EXTENSIONS} are allowed",
            extensions.len()
        ));
    }
    let mut names: Vec<&str> = extensions.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("its event {type:?} has the extension {:?} twice", pair[0]));
    }
    let values = extensions.iter().map(|(_, value)| value).chain(datacontenttype);
    if let Some(long) = values.map(String::len).find(|len| *len > MAX_ATTRIBUTE_BYTES) {
        return Err(format!(
            "its event {type:?} has an attribute of {long} bytes; at most {MAX_ATTRIBUTE_BYTES} are allowed"
        ));
    }
    match names.iter().find(|name| !is_plugin_extension(name)) {
        Some(name) => {
            Err(format!("its event {type:?} has the extension {name:?}, a name that it may not use"))
        }
        None => Ok(()),
    }
}

/// The events of a checked decision, complete: ids, source, time, cause, process, history.
#[must_use]
pub fn events_to_store(
    events: Vec<NewEvent>,
    command: &Command,
    handler: &str,
    decided_by: &str,
    history: &History,
) -> Vec<EventToStore> {
    let mut ours = vec![
        (CORRELATION_ID.to_owned(), command.correlation_id.clone()),
        (CAUSATION_ID.to_owned(), command.id.to_string()),
    ];
    ours.extend(command.traceparent.iter().map(|t| (TRACEPARENT.to_owned(), t.clone())));
    let entity = &command.entity;
    let numbered = (0u32..).zip(events).map(|(n, event)| EventToStore {
        subject: entity.event_subject(&event.r#type, event.version),
        history: history.after_adjacent(n),
        fingerprint: command.fingerprint.clone(),
        decided_by: decided_by.to_owned(),
        event: Event {
            id: format!("{}:{n}", command.id),
            source: format!("/{handler}/{}", entity.id()),
            r#type: event.r#type,
            version: event.version,
            subject: Some(entity.id().to_owned()),
            time: Some(command.time),
            datacontenttype: Some(event.datacontenttype.unwrap_or_else(|| "application/json".to_owned())),
            dataschema: None,
            extensions: ours.iter().cloned().chain(event.extensions).collect(),
            data: event.data,
        },
    });
    numbered.collect()
}
