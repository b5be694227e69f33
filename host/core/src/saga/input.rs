//! The inputs that instances have to react to, as the reader found them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::Span;

use crate::cloudevents::TRACEPARENT;
use crate::id::{InstanceId, Name, Position};
use crate::message::{Incoming, RecordedEvent};
use crate::outcomes::CommandReport;
use crate::plugin::Plugin;
use crate::saga::instance::{ArmedTimer, Place};
use crate::saga::model::{Relation, Timer};
use crate::telemetry;
use crate::time::Timestamp;

/// The header of a timer's message that an operator stored before the timer was due; its value names the operator.
pub const FIRED_BY: &str = "Pelton-Fired-By";

/// A message of the saga's own stream that is an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnInput {
    /// A timer went off.
    Timer(FiredTimer),
    /// A command of an instance has ended.
    Outcome(CommandReport),
}

/// The message of a timer. It is scheduled when the timer is armed, and handed over when the timer is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FiredTimer {
    /// The instance that set it.
    pub instance: InstanceId,
    /// Its id.
    pub id: String,
    /// The timer as the instance has armed it.
    #[serde(flatten)]
    pub armed: ArmedTimer,
    /// The plugin's data.
    #[serde(with = "base64_data")]
    pub data: Bytes,
}

impl FiredTimer {
    pub(super) fn to_timer(&self) -> Timer {
        timer(&self.id, &self.armed, self.data.clone())
    }
}

/// A timer in the contract's terms.
pub(super) fn timer(id: &str, armed: &ArmedTimer, data: Bytes) -> Timer {
    Timer { id: id.to_owned(), r#type: armed.r#type.clone(), due: armed.due, data }
}

impl OwnInput {
    /// The payload of the message.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn to_bytes(&self) -> Result<Bytes, String> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// The payload is not an input.
    pub fn from_bytes(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(payload).map_err(|error| format!("it is not an input of a saga: {error}"))
    }

    /// The instance that it is for.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Timer(fired) => Some(fired.instance.clone()),
            Self::Outcome(report) => report.command_id.sender().map(|(_, instance)| instance),
        }
    }
}

/// One input of one instance.
#[derive(Debug, Clone)]
pub struct Input {
    /// The message that holds it.
    pub message: Incoming,
    /// Its place in that message's stream.
    pub position: Position,
    /// The content of an input.
    pub what: What,
}

/// The content of an input.
#[derive(Debug, Clone)]
pub enum What {
    /// An event, and what it means to the instance. `None`: it concerns the instance only in a version that drains.
    Event(Box<RecordedEvent>, Option<Relation>),
    /// A timer went off.
    Timer(FiredTimer),
    /// A command has ended.
    Outcome(CommandReport),
}

impl Input {
    /// The input in a message of the saga's own stream.
    #[must_use]
    pub fn own(message: Incoming, input: OwnInput) -> Self {
        let position = Position { sequence: message.sequence, part: 0 };
        let what = match input {
            OwnInput::Timer(fired) => What::Timer(fired),
            OwnInput::Outcome(report) => What::Outcome(report),
        };
        Self { message, position, what }
    }

    /// Whether the input's message is at this place.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        self.message.stream.as_str() == place.stream && self.message.sequence == place.sequence
    }

    /// The time of the input, by the server's clock. The time of a timer is never before it is due.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match &self.what {
            What::Event(event, _) => event.recorded_at,
            What::Timer(fired) => self.message.stored_at.max(fired.armed.due),
            What::Outcome(_) => self.message.stored_at,
        }
    }

    /// The span of log lines about the input.
    pub(super) fn span(&self, saga: &Name, plugin: &impl Plugin, instance: Option<&InstanceId>) -> Span {
        let (input, trace) = match &self.what {
            What::Event(event, _) => {
                let event = &event.event;
                (("event", event.id.as_str(), event.r#type.as_str()), event.extension(TRACEPARENT))
            }
            What::Timer(fired) => (("timer", fired.id.as_str(), fired.armed.r#type.as_str()), None),
            What::Outcome(report) => (("outcome", report.command_id.as_str(), report.r#type.as_str()), None),
        };
        telemetry::saga_input(saga, plugin, &self.message, input, instance, trace)
    }
}

mod base64_data {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(data: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(data).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}
