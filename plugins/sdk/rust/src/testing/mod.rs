//! Tests of a plugin's rules by plain `cargo test`: what happened, what is asked, what follows.
//!
//! Events and commands take the way over the wire that they take in the host, so a test also covers their JSON, and a
//! snapshot, where there is one, is taken and restored before every decision.
//!
//! Event `n`, counted from 1, has the sequence `n` and happened `n` seconds after [`START`].

mod handler;
mod projection;
mod saga;

use std::time::Duration;

use serde::Serialize;

use crate::Timestamp;
use crate::bindings::types;
use crate::codec::split_variant;
use crate::export::to_wire;

pub use handler::{Decision, Given, TestCommandHandler};
pub use projection::{TestProjection, ViewAfter};
pub use saga::{SagaAfter, TestSaga};

/// 2000-01-01T00:00:00Z, the time at which tests begin.
pub const START: Timestamp = Timestamp::from_nanos(946_684_800_000_000_000);

/// The events of a test, as a stream would hold them.
#[derive(Debug, Default, Clone)]
struct Stream(Vec<types::RecordedEvent>);

impl Stream {
    fn push<E: Serialize>(&mut self, event: &E) {
        let wire = to_wire(event);
        let (kind, version) = split_variant(wire.name);
        self.push_raw(kind, version, wire.data);
    }

    /// The time of the last event, in nanoseconds: the only clock that a test has.
    fn now(&self) -> u64 {
        self.0.last().map_or(START.as_nanos(), |last| last.recorded_at)
    }

    fn push_raw(&mut self, kind: &str, version: u32, data: Vec<u8>) {
        let sequence = self.0.len() as u64 + 1;
        let time = (START + Duration::from_secs(sequence)).as_nanos();
        let event = types::Event {
            id: format!("event-{sequence}"),
            source: "/test".to_owned(),
            type_: kind.to_owned(),
            version,
            subject: Some("test".to_owned()),
            time: Some(time),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: Vec::new(),
            data,
        };
        self.0.push(types::RecordedEvent { event, stream: "test".to_owned(), sequence, recorded_at: time });
    }
}

/// A value as JSON, for comparing and for showing.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a value under test has a JSON form")
}

/// Data as text, for comparing and for showing.
fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
