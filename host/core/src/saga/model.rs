//! What a saga reads and answers, and how an instance is stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, Sequence};
use crate::message::{Metadata, NewCommand, RecordedEvent, Rejection};
use crate::time::Timestamp;

/// What an event means to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It starts the instance if there is none.
    Start,
    /// It is nothing to an instance that does not exist.
    Advance,
}

/// An instance that an event concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The instance's id as the plugin gave it.
    pub instance: String,
    /// What the event means to it.
    pub relation: Relation,
}

/// A timer of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Unique in the instance.
    pub id: String,
    /// When it goes off.
    pub due: Timestamp,
    /// Handed back when it goes off.
    pub data: Bytes,
}

/// A change of the instance's timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerChange {
    /// Set, or set anew.
    Set(Timer),
    /// Cancel, by id.
    Cancel(String),
}

/// How a command that the instance sent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandResult {
    /// The ids of the stored events.
    Accepted(Vec<String>),
    /// The rule that said no.
    Rejected(Rejection),
    /// Why it was set aside.
    Failed(String),
}

/// The outcome of a command that the instance sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The id that the host gave it.
    pub command_id: String,
    /// Its type.
    pub r#type: String,
    /// Its metadata as the instance sent it.
    pub metadata: Metadata,
    /// When it was recorded.
    pub time: Timestamp,
    /// How it ended.
    pub result: CommandResult,
}

/// The one thing that an instance reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaInput {
    /// An event of the stream.
    Event(RecordedEvent),
    /// A timer that went off.
    Timer(Timer),
    /// The outcome of a command that it sent.
    Outcome(CommandOutcome),
}

/// What an instance does about an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The new state; none ends the instance.
    pub state: Option<Vec<u8>>,
    /// In order.
    pub commands: Vec<NewCommand>,
    /// In order.
    pub timers: Vec<TimerChange>,
}

/// An instance as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SagaRecord {
    /// The last input handled, for each stream that inputs come from.
    pub handled: BTreeMap<String, Sequence>,
    /// The plugin's state; none when the instance has ended.
    #[serde(with = "bytes_as_base64")]
    pub state: Option<Vec<u8>>,
    /// The commands of the last input.
    pub outbox: Vec<OutgoingCommand>,
    /// An input could not be handled: its dead letter's id. Later inputs are parked behind it, for as long as there are
    /// dead letters of this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_by: Option<String>,
}

/// A command with the id that it keeps for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingCommand {
    /// See [`CommandId::of_saga`].
    pub id: CommandId,
    /// Its type.
    pub r#type: String,
    /// Media type of the data.
    pub datacontenttype: String,
    /// Extension attributes, correlation and causation among them.
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
