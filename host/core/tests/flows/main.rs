//! The flows of projections and sagas on ports in memory, and how failures are retried.

mod border;
#[path = "../support/log.rs"]
mod log;
mod projection;
mod retry;
mod saga;
mod view_faults;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Event, Incoming};
use pelton_core::plugin::Plugin;
use pelton_core::time::Timestamp;

/// An event of this type with this text as its data.
pub(crate) fn event(r#type: &str, data: &str) -> Event {
    Event {
        id: format!("{type}-{data}"),
        source: "/test".to_owned(),
        r#type: r#type.to_owned(),
        version: 1,
        subject: None,
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// A message of the stream `stream` that holds the event.
pub(crate) fn message(sequence: u64, event: &Event) -> Incoming {
    Incoming {
        stream: Name::new("stream").unwrap(),
        sequence: Sequence(sequence),
        subject: format!("test.1.{}.v1", event.r#type),
        headers: cloudevents::encode(event),
        payload: event.data.clone(),
        stored_at: Timestamp(sequence),
        attempt: 1,
    }
}

/// A plugin's name and digest.
pub(crate) struct Native;

impl Plugin for Native {
    fn name(&self) -> &str {
        "native"
    }

    fn digest(&self) -> &str {
        "sha256:native"
    }
}
