//! A saga's inputs and reactions, in the contract's terms.

use bytes::Bytes;

use crate::cloudevents::CORRELATION_ID;
use crate::id::InputKey;
use crate::message::{Metadata, NewCommand, RecordedEvent};
use crate::time::Timestamp;

pub use crate::outcomes::CommandResult;

/// What an event means to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The event starts the instance if it does not exist.
    Start,
    /// The event starts the instance if there was never one of this id.
    StartOnce,
    /// The event is ignored if the instance does not exist.
    Advance,
}

/// An instance that an event concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The instance's id as the plugin wrote it.
    pub instance: String,
    /// What the event means to it.
    pub relation: Relation,
}

/// A timer of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Unique in the instance.
    pub id: String,
    /// One of the types that the plugin declared.
    pub r#type: String,
    /// When the timer goes off.
    pub due: Timestamp,
    /// Passed back when the timer goes off.
    pub data: Bytes,
}

/// A timer that goes off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTimer {
    /// The timer as it was set.
    pub timer: Timer,
    /// When it is handed over, the same on every try.
    pub time: Timestamp,
}

/// A change to the instance's timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerChange {
    /// Sets a timer, or sets it again.
    Set(Timer),
    /// Cancels a timer, by id.
    Cancel(String),
}

/// The outcome of a command of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The id that the host gave the command.
    pub command_id: String,
    /// Its type.
    pub r#type: String,
    /// The reference that the instance gave the command.
    pub reference: Option<String>,
    /// When the outcome was recorded.
    pub time: Timestamp,
    /// How the command ended.
    pub result: CommandResult,
}

/// An input that an instance reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaInput {
    /// An event of the stream.
    Event(RecordedEvent),
    /// A timer of the instance went off.
    Timer(DueTimer),
    /// The outcome of a command of the instance.
    Outcome(CommandOutcome),
}

/// The context of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputContext {
    /// No other input of the instance has this id. It is the same on every try.
    pub input_id: String,
    /// The time of the input. It is the same on every try.
    pub time: Timestamp,
    /// The process that the input belongs to.
    pub correlation_id: String,
    /// The metadata that the host adds.
    pub metadata: Metadata,
}

impl InputContext {
    /// The context of an event.
    #[must_use]
    pub fn of_event(event: &RecordedEvent) -> Self {
        Self {
            input_id: InputKey::of_event(&event.stream, event.position()).to_string(),
            time: event.recorded_at,
            correlation_id: event.event.extension(CORRELATION_ID).unwrap_or(&event.event.id).to_owned(),
            metadata: Metadata::new(),
        }
    }
}

/// An instance's reaction to an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The new state. `None` ends the instance.
    pub state: Option<Vec<u8>>,
    /// The commands to send, in order.
    pub commands: Vec<NewCommand>,
    /// The changes to timers, in order.
    pub timers: Vec<TimerChange>,
}

/// An instance in the form that the plugin has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The state.
    pub state: Vec<u8>,
    /// All timers that the instance keeps.
    pub timers: Vec<Timer>,
}
