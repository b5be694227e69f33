//! The spans of Pelton's work, and the names of their fields.
//!
//! A span's fields are on every log line that is written while a message is handled, the lines of plugins included.
//! `traceparent` is the W3C trace context of the message; every message that follows from it carries it on.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::cloudevents::TRACEPARENT;
use crate::id::{InstanceId, Name};
use crate::message::{Command, Incoming, RecordedEvent};
use crate::plugin::Plugin;

/// The handling of one message of the command stream.
pub fn command(handler: &Name, plugin: &impl Plugin, message: &Incoming, command: Option<&Command>) -> Span {
    let span = info_span!(
        "command",
        %handler,
        command_id = Empty,
        command_type = Empty,
        entity = Empty,
        stream = %message.stream,
        sequence = message.sequence.0,
        attempt = message.attempt,
        plugin = plugin.name(),
        digest = plugin.digest(),
        traceparent = Empty,
    );
    if let Some(command) = command {
        span.record("command_id", command.id.as_str());
        span.record("command_type", command.r#type.as_str());
        span.record("entity", command.entity.prefix());
        record_traceparent(&span, command.traceparent.as_deref());
    }
    span
}

/// The handling of one input by a saga, or by one instance of it. `kind` is `event`, `timer` or `outcome`; `id` and `type` are
/// those of the event, of the timer, or of the command that ended.
pub fn saga_input(
    saga: &Name,
    plugin: &impl Plugin,
    message: &Incoming,
    (kind, id, r#type): (&str, &str, &str),
    instance: Option<&InstanceId>,
    traceparent: Option<&str>,
) -> Span {
    let span = info_span!(
        "saga input",
        %saga,
        input = kind,
        input_id = id,
        input_type = r#type,
        instance = instance.map(InstanceId::as_str),
        stream = %message.stream,
        sequence = message.sequence.0,
        attempt = message.attempt,
        plugin = plugin.name(),
        digest = plugin.digest(),
        traceparent = Empty,
    );
    record_traceparent(&span, traceparent);
    span
}

/// A call of a projection. It folds several successive events together.
pub fn view_events(view: &Name, plugin: &impl Plugin, events: &[RecordedEvent]) -> Span {
    let span = info_span!(
        "view events",
        %view,
        event_id = Empty,
        stream = Empty,
        first = Empty,
        last = Empty,
        plugin = plugin.name(),
        digest = plugin.digest(),
        traceparent = Empty,
    );
    if let ([first, ..], [.., last]) = (events, events) {
        span.record("stream", first.stream.as_ref());
        span.record("first", first.sequence.0);
        span.record("last", last.sequence.0);
    }
    if let [RecordedEvent { event, .. }] = events {
        span.record("event_id", event.id.as_str());
        record_traceparent(&span, event.extension(TRACEPARENT));
    }
    span
}

fn record_traceparent(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        span.record("traceparent", traceparent);
    }
}
