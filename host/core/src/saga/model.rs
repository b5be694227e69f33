//! A saga's inputs and reactions, and the stored form of an instance.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cloudevents::CORRELATION_ID;
use crate::id::{CommandId, Position};
use crate::message::{Metadata, NewCommand, RecordedEvent, Rejection};
use crate::time::Timestamp;

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

/// How a command of the instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandResult {
    /// The ids of the stored events.
    Accepted(Vec<String>),
    /// The rule that forbids the command.
    Rejected(Rejection),
    /// The cause for which the command was set aside. Another outcome may follow.
    SetAside(String),
    /// The cause for which the command was given up.
    Failed(String),
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

/// The one thing that an instance reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaInput {
    /// An event of the stream.
    Event(RecordedEvent),
    /// A timer of the instance went off.
    Timer(DueTimer),
    /// The outcome of a command of the instance.
    Outcome(CommandOutcome),
}

/// What comes with every input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputContext {
    /// No other input of the instance has this id. It is the same on every try.
    pub input_id: String,
    /// When the input came to be, the same on every try.
    pub time: Timestamp,
    /// The process that the input belongs to.
    pub correlation_id: String,
    /// The host's additions.
    pub metadata: Metadata,
}

impl InputContext {
    /// What comes with an event.
    #[must_use]
    pub fn of_event(event: &RecordedEvent) -> Self {
        Self {
            input_id: format!("{}:{}", event.stream, event.position()),
            time: event.recorded_at,
            correlation_id: event.event.extension(CORRELATION_ID).unwrap_or(&event.event.id).to_owned(),
            metadata: Metadata::new(),
        }
    }
}

/// What an instance does about an input.
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
    /// All timers that go on.
    pub timers: Vec<Timer>,
}

/// The stored form of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SagaRecord {
    /// The last handled input of each stream.
    pub handled: BTreeMap<String, Position>,
    /// The plugin's state. `None` once the instance has ended.
    #[serde(with = "bytes_as_base64")]
    pub state: Option<Vec<u8>>,
    /// The version of its form, as the plugin that wrote it said.
    #[serde(default)]
    pub state_version: u32,
    /// What all commands of the last input have in common: correlation, causation and trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub process: Metadata,
    /// The commands of the last input.
    pub outbox: Vec<OutgoingCommand>,
    /// The id of the dead letter of an input that could not be handled. Later inputs are parked behind it, as long as
    /// the instance has dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_by: Option<String>,
}

impl SagaRecord {
    /// Whether there was an instance, which has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.is_none() && !self.handled.is_empty()
    }
}

/// A command with its final id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingCommand {
    /// See [`CommandId::of_saga`].
    pub id: CommandId,
    /// Its type.
    pub r#type: String,
    /// What the plugin calls it. The handler does not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The media type of the data.
    pub datacontenttype: String,
    /// The metadata that the plugin gave it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Metadata,
    /// The payload.
    #[serde(with = "bytes_as_base64")]
    pub data: Option<Vec<u8>>,
}

mod bytes_as_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` fixes the signature")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|b| STANDARD.encode(b)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|t| STANDARD.decode(t).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{
        MAX_ATTRIBUTE_BYTES, MAX_COMMANDS, MAX_COMMANDS_BYTES, MAX_INSTANCE_STATE_BYTES, MAX_NAME_BYTES,
    };
    use crate::id::{MAX_TOKEN_BYTES, Sequence};

    /// R16: 100 commands of 512 KiB were allowed, and no server would take them.
    #[test]
    fn the_largest_reaction_fits_the_largest_message_of_a_server() {
        const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
        let attribute = |name: &str| (name.to_owned(), "x".repeat(MAX_ATTRIBUTE_BYTES));
        let command = OutgoingCommand {
            id: CommandId::new("i".repeat(MAX_TOKEN_BYTES)).unwrap(),
            r#type: "t".repeat(MAX_NAME_BYTES),
            reference: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: Some(vec![0; MAX_COMMANDS_BYTES / MAX_COMMANDS]),
        };
        let record = SagaRecord {
            handled: BTreeMap::from([(
                "s".repeat(48),
                Position { sequence: Sequence(u64::MAX), part: u32::MAX },
            )]),
            state: Some(vec![0; MAX_INSTANCE_STATE_BYTES]),
            state_version: u32::MAX,
            process: ["correlationid", "causationid", "traceparent"].map(attribute).to_vec(),
            outbox: vec![command; MAX_COMMANDS],
            quarantined_by: Some("d".repeat(1024)),
        };
        let bytes = serde_json::to_vec(&record).unwrap().len();
        assert!(bytes < MAX_PAYLOAD_BYTES - 16 * 1024, "{bytes}");
    }
}
