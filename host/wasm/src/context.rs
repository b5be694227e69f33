//! Which message a call belongs to: what a guest with WASI sees as the time, and what its random numbers follow from.
//!
//! The same call must give the same result on every host, after every restart, and however many others the instance has
//! served. So nothing here depends on anything but the arguments of the call.

use pelton_core::message::{Command, RecordedEvent};
use pelton_core::saga::model::InputContext;
use pelton_core::time::Timestamp;

/// What a call belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallContext<'a> {
    /// The clock at the beginning of the call.
    pub(crate) time: Timestamp,
    /// What random numbers are seeded from.
    pub(crate) seed: (&'a str, &'a str, u32),
    /// The bytes of the payloads that the call passes in.
    pub(crate) bytes: usize,
}

impl CallContext<'static> {
    /// A call that belongs to nothing: the start of an instance, its description, the end of an entity.
    pub(crate) const CONSTANT: Self = Self { time: Timestamp(0), seed: ("", "", 0), bytes: 0 };
}

impl<'a> CallContext<'a> {
    /// A call about an entity, or about an instance of a saga, as such. No message has a part in its result, so the clock
    /// stands at 1970-01-01T00:00:00Z.
    pub(crate) fn of_id(id: &'a str, bytes: usize) -> Self {
        Self { time: Timestamp(0), seed: (id, "", 0), bytes }
    }

    /// A call about a command.
    pub(crate) fn of_command(command: &'a Command) -> Self {
        Self { time: command.time, seed: (command.id.as_str(), "", 0), bytes: command.data.len() }
    }

    /// A call about one event. Its sequence does not count: an event is folded before its sequence is known.
    pub(crate) fn of_event(recorded: &'a RecordedEvent) -> Self {
        let event = &recorded.event;
        let seed = (event.source.as_str(), event.id.as_str(), recorded.part);
        Self { time: recorded.recorded_at, seed, bytes: event.data.len() }
    }

    /// A call about several events, for a guest that sees neither the time nor random numbers.
    pub(crate) fn of_events(events: &[RecordedEvent]) -> Self {
        Self { bytes: events.iter().map(|recorded| recorded.event.data.len()).sum(), ..CallContext::CONSTANT }
    }

    /// A call about what an instance of a saga does about an input. Two instances that get one event differ.
    pub(crate) fn of_input(context: &'a InputContext, instance: &'a str, bytes: usize) -> Self {
        Self { time: context.time, seed: (&context.input_id, instance, 0), bytes }
    }

    /// The same call, which passes in this many bytes more.
    pub(crate) fn and(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), ..self }
    }
}
