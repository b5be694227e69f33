//! Conversion of the values of command handlers and projections: from core to the bindings borrowed, and back moved. A
//! payload is copied once, into or out of the guest.

use pelton_core::message::{Command, Failure, NewEvent, RecordedEvent, Rejection};

use crate::bindings::folds::pelton::plugin::types;

/// The most bytes kept of a text for people. It goes into outcomes and dead letters, which have limits.
const MAX_TEXT_BYTES: usize = 4096;

/// Names with values, borrowed.
pub(crate) type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// The pairs, borrowed.
pub(crate) fn pairs(metadata: &[(String, String)]) -> Pairs<'_> {
    metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The extensions of all events, one after the other. [`recorded_events`] takes its slices from them.
pub(crate) fn extensions(events: &[RecordedEvent]) -> Pairs<'_> {
    let mut all = Vec::with_capacity(events.iter().map(|e| e.event.extensions.len()).sum());
    all.extend(
        events.iter().flat_map(|e| &e.event.extensions).map(|(name, value)| (name.as_str(), value.as_str())),
    );
    all
}

/// The events, borrowed. `extensions` must belong to the same events.
pub(crate) fn recorded_events<'a>(
    events: &'a [RecordedEvent],
    mut extensions: &'a [(&'a str, &'a str)],
) -> Vec<types::RecordedEvent<'a>> {
    let borrowed = events.iter().map(|event| {
        let (own, rest) = extensions.split_at(event.event.extensions.len());
        extensions = rest;
        recorded_event(event, own)
    });
    borrowed.collect()
}

fn recorded_event<'a>(
    recorded: &'a RecordedEvent,
    extensions: &'a [(&'a str, &'a str)],
) -> types::RecordedEvent<'a> {
    let event = &recorded.event;
    types::RecordedEvent {
        event: types::Event {
            id: &event.id,
            source: &event.source,
            type_: &event.r#type,
            version: event.version,
            subject: event.subject.as_deref(),
            time: event.time.map(|t| t.0),
            datacontenttype: event.datacontenttype.as_deref(),
            dataschema: event.dataschema.as_deref(),
            extensions,
            data: &event.data,
        },
        stream: &recorded.stream,
        sequence: recorded.sequence.0,
        part: recorded.part,
        recorded_at: recorded.recorded_at.0,
    }
}

/// The command, borrowed.
pub(crate) fn command<'a>(
    command: &'a Command,
    metadata: &'a [(&'a str, &'a str)],
    context: &'a [(&'a str, &'a str)],
) -> types::Command<'a> {
    types::Command {
        id: command.id.as_str(),
        type_: command.r#type.as_str(),
        entity: command.entity.id(),
        time: command.time.0,
        correlation_id: &command.correlation_id,
        causation_id: command.causation_id.as_deref(),
        principal: command.principal.as_deref(),
        datacontenttype: command.datacontenttype.as_deref(),
        metadata,
        context,
        data: &command.data,
    }
}

impl From<types::NewEvent> for NewEvent {
    fn from(event: types::NewEvent) -> Self {
        let types::NewEvent { type_, version, datacontenttype, extensions, data } = event;
        Self { r#type: type_, version, datacontenttype, extensions, data: data.into() }
    }
}

impl From<types::Rejection> for Rejection {
    fn from(rejection: types::Rejection) -> Self {
        let types::Rejection { code, message, details } = rejection;
        Self { code, message: for_people(message), details }
    }
}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::Retry(after_ms) => Self::Retry(after_ms),
            types::Failure::Invalid(text) => Self::Invalid(for_people(text)),
            types::Failure::Other(text) => Self::Other(for_people(text)),
        }
    }
}

/// Cuts a text for people to the size that outcomes and dead letters can carry.
pub(crate) fn for_people(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}
