//! The events of a test: the author's input, and their stored form.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::START;
use crate::Timestamp;
use crate::bindings::types;
use crate::codec::split_variant;
use crate::export::to_wire;

/// One event of a test, with its attributes. An attribute that is not set has the default that [`testing`](super)
/// describes.
///
/// ```
/// # use pelton_plugin::testing::{START, event};
/// # #[derive(serde::Serialize)] #[serde(rename_all = "kebab-case")] enum Event { BookLent { reader: String } }
/// event(Event::BookLent { reader: "ada".into() }).entity("emma").at(START).sequence(7).correlation("visit-1");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TestEvent {
    event_type: String,
    version: u32,
    data: Vec<u8>,
    id: Option<String>,
    entity: Option<String>,
    time: Option<Timestamp>,
    sequence: Option<u64>,
    extensions: Vec<(String, String)>,
}

/// An event whose attributes can be set: its time, its entity, and so on.
pub fn event<E: Serialize>(event: E) -> TestEvent {
    // Taken by value, because an event is made for the one place where it is given.
    let wire = to_wire(&event);
    let (event_type, version) = split_variant(wire.name);
    TestEvent::new(event_type, version, wire.data)
}

/// An event in its stored form: of an old version, of another handler, or unreadable.
pub fn raw_event(event_type: &str, version: u32, data: &str) -> TestEvent {
    TestEvent::new(event_type, version, data.as_bytes().to_vec())
}

impl TestEvent {
    fn new(event_type: &str, version: u32, data: Vec<u8>) -> Self {
        let event_type = event_type.to_owned();
        let extensions = Vec::new();
        Self { event_type, version, data, id: None, entity: None, time: None, sequence: None, extensions }
    }

    /// Sets the event's id.
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Sets the event's entity.
    pub fn entity(mut self, id: &str) -> Self {
        self.entity = Some(id.to_owned());
        self
    }

    /// Sets the time of the event, which is also the time when the stream stored it.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the position in the stream. It must be later than those of the events before.
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// Sets the process that the event belongs to: its extension `correlationid`.
    pub fn correlation(self, id: &str) -> Self {
        self.extension("correlationid", id)
    }

    /// Sets the cause of the event: its extension `causationid`.
    pub fn causation(self, id: &str) -> Self {
        self.extension("causationid", id)
    }

    /// Sets another extension attribute.
    pub fn extension(mut self, name: &str, value: &str) -> Self {
        self.extensions.retain(|(other, _)| other != name);
        self.extensions.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A value that can be given as an event: a variant of an enum of events, or the result of [`event`].
pub trait IntoTestEvent {
    /// Converts it into an event of a test.
    fn into_test_event(self) -> TestEvent;
}

impl<E: Serialize> IntoTestEvent for E {
    fn into_test_event(self) -> TestEvent {
        event(self)
    }
}

impl IntoTestEvent for TestEvent {
    fn into_test_event(self) -> TestEvent {
        self
    }
}

/// The events of a test, in their stored form.
#[derive(Debug, Default, Clone)]
pub(super) struct Stream(pub(super) Vec<types::RecordedEvent>, pub(super) Option<u64>);

impl Stream {
    /// # Panics
    /// If the sequence is not later than those before: the sequences of a stream grow.
    #[track_caller]
    pub(super) fn push(&mut self, event: impl IntoTestEvent) {
        let TestEvent { event_type, version, data, id, entity, time, sequence, extensions } =
            event.into_test_event();
        let last = self.0.last().map_or(0, |last| last.sequence);
        let sequence = sequence.unwrap_or(last + 1);
        assert!(sequence > last, "sequences only grow: {sequence} comes after {last}");
        let time = time.unwrap_or(Timestamp::from_nanos(self.now()) + Duration::from_secs(1)).as_nanos();
        let event = types::Event {
            id: id.unwrap_or_else(|| format!("event-{sequence}")),
            source: "/test".to_owned(),
            type_: event_type,
            version,
            subject: Some(entity.unwrap_or_else(|| "test".to_owned())),
            time: Some(time),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions,
            data,
        };
        let stream = "test".to_owned();
        self.0.push(types::RecordedEvent { event, stream, sequence, part: 0, recorded_at: time });
    }

    /// The time of the last event, in nanoseconds, or the time to which a test has moved on since.
    pub(super) fn now(&self) -> u64 {
        let last = self.0.last().map_or(START.as_nanos(), |last| last.recorded_at);
        self.1.map_or(last, |moved| moved.max(last))
    }

    /// Moves the time on.
    pub(super) fn move_to(&mut self, time: u64) {
        self.1 = Some(time);
    }

    /// The events and their attributes, for a report.
    pub(super) fn show(&self) -> Vec<Value> {
        self.0.iter().map(show_event).collect()
    }
}

/// One event and its attributes, for a report.
pub(super) fn show_event(recorded: &types::RecordedEvent) -> Value {
    let types::RecordedEvent { event, sequence, .. } = recorded;
    let time = Timestamp::from_nanos(event.time.unwrap_or(recorded.recorded_at)).to_string();
    let mut shown = json!({
        versioned(&event.type_, event.version): data(&event.data),
        "entity": event.subject, "time": time, "sequence": sequence,
    });
    for (name, value) in &event.extensions {
        shown[name] = value.clone().into();
    }
    shown
}

/// A type in the form of serde's variant name: with the version, from version 2 on.
pub(super) fn versioned(kind: &str, version: u32) -> String {
    if version == 1 { kind.to_owned() } else { format!("{kind}.v{version}") }
}

/// Data as JSON, to compare and to show; as text if it is not JSON.
pub(super) fn data(data: &[u8]) -> Value {
    serde_json::from_slice(data).unwrap_or_else(|_| String::from_utf8_lossy(data).into())
}

/// The wire form of a command or event, as `{"<type>": <data>}`.
pub(super) fn variant<T: Serialize>(value: &T) -> Value {
    let wire = to_wire(value);
    let (kind, version) = split_variant(wire.name);
    json!({ versioned(kind, version): data(&wire.data) })
}
