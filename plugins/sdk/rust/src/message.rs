//! The attributes of a command and of an event, and the two kinds of refusal.

use std::time::Duration;

use crate::Timestamp;
use crate::bindings::types;

/// The attributes of a command. A test that calls a rule by itself takes those that it does not need from `default`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The command's id. The host handles an id once, for ever.
    pub command_id: String,
    /// The entity's id: its tokens joined by `.`, for example `1.2022-12-12`.
    pub entity: String,
    /// When the command was stored. The time is the same on every retry.
    pub time: Timestamp,
    /// The process that the command belongs to: the command's own id if the command starts the process.
    pub correlation_id: String,
    /// The id of the event, command or timer that caused the command, if there is one.
    pub causation_id: Option<String>,
    /// Who asked for it, as the host vouches for. `None` if the host does not know; host 0.1 never does.
    pub principal: Option<String>,
    /// The sender's additions, as names with values.
    pub metadata: Vec<(String, String)>,
    /// The host's additions, which no sender can write. Host 0.1 adds nothing.
    pub host: Vec<(String, String)>,
}

impl Context {
    /// The value of the sender's addition `name`.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        lookup(&self.metadata, name)
    }

    /// The value of the host's addition `name`.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&str> {
        lookup(&self.host, name)
    }

    /// The attributes of a command whose data is read already.
    pub(crate) fn from_command(command: types::Command) -> Self {
        Self {
            command_id: command.id,
            entity: command.entity,
            time: Timestamp::from_nanos(command.time),
            correlation_id: command.correlation_id,
            causation_id: command.causation_id,
            principal: command.principal,
            metadata: command.metadata,
            host: command.context,
        }
    }
}

/// The attributes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMeta {
    /// Unique within `source`.
    pub id: String,
    /// The origin of the event, a URI reference.
    pub source: String,
    /// Its type, without the version.
    pub event_type: String,
    /// The version of the form of its data.
    pub version: u32,
    /// The entity's id, in events that the host wrote.
    pub entity: Option<String>,
    /// When the event happened, according to its writer. Without such a time: when the stream stored it.
    pub time: Timestamp,
    /// The name of the stream that holds it.
    pub stream: String,
    /// The position in the stream. Positions grow, with gaps.
    pub sequence: u64,
    /// Which of the events that an upcaster made of the one stored event this is, from 0.
    pub part: u32,
    /// When the stream stored the event.
    pub recorded_at: Timestamp,
    /// Every other attribute, among them `correlationid` and `causationid`.
    pub extensions: Vec<(String, String)>,
}

impl EventMeta {
    /// The value of the extension attribute `name`.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        lookup(&self.extensions, name)
    }

    /// Splits an event of the host into attributes and data.
    pub(crate) fn split(recorded: types::RecordedEvent) -> (Self, Vec<u8>) {
        let types::RecordedEvent { event, stream, sequence, part, recorded_at } = recorded;
        let meta = Self {
            id: event.id,
            source: event.source,
            event_type: event.type_,
            version: event.version,
            entity: event.subject,
            time: Timestamp::from_nanos(event.time.unwrap_or(recorded_at)),
            stream,
            sequence,
            part,
            recorded_at: Timestamp::from_nanos(recorded_at),
            extensions: event.extensions,
        };
        (meta, event.data)
    }

    /// The event's name in messages.
    pub(crate) fn label(&self) -> String {
        format!(
            "event {} ({} version {}, sequence {})",
            self.id, self.event_type, self.version, self.sequence
        )
    }
}

/// The attributes of an event of the handler's own entity: all but its place in a stream. The host may fold an event
/// before it is stored, to decide the next command on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventContext {
    /// Unique within `source`.
    pub id: String,
    /// The origin of the event, a URI reference.
    pub source: String,
    /// Its type, without the version.
    pub event_type: String,
    /// The version of the form of its data.
    pub version: u32,
    /// The entity's id, in events that the host wrote.
    pub entity: Option<String>,
    /// When the event happened, according to its writer. Without such a time: when the stream stored it.
    pub time: Timestamp,
    /// Every other attribute, among them `correlationid` and `causationid`.
    pub extensions: Vec<(String, String)>,
}

impl EventContext {
    /// The value of the extension attribute `name`.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        lookup(&self.extensions, name)
    }
}

impl From<EventMeta> for EventContext {
    fn from(meta: EventMeta) -> Self {
        let EventMeta { id, source, event_type, version, entity, time, extensions, .. } = meta;
        Self { id, source, event_type, version, entity, time, extensions }
    }
}

fn lookup<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
}

/// The code of the rejection of a command whose data cannot be read. The gateway answers 400 to it.
pub const INVALID_COMMAND: &str = "invalid-command";

/// A rule forbids the command. A rejection is an answer, not an error: the host records it, and returns it whenever the
/// command is sent again.
///
/// A handler names the rule by a variant of its enum ([`CommandHandler::Rule`](crate::CommandHandler::Rule)); whoever
/// gets the rejection sees the variant's name, a `String`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection<Code = String> {
    /// The rule, for programs: on the wire 1 to 64 characters `a`-`z`, `0`-`9`, `-`. Keep it stable, because clients
    /// depend on it. A variant `invalid-command` says that the command's data cannot be read.
    pub code: Code,
    /// The rule, for people.
    pub message: String,
    /// Further facts, as names with values.
    pub details: Vec<(String, String)>,
}

impl<Code> Rejection<Code> {
    /// A rejection without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((name.into(), value.into()));
        self
    }
}

/// Why a function returned no result, and what the host does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The call may succeed later. The host tries again after this time, or with its own backoff, until the attempts
    /// are used up.
    Retry(Option<Duration>),
    /// This input will never succeed. The host sets it aside at once, with this text as the cause.
    Invalid(String),
    /// The call failed. The host tries again, and sets the input aside when the attempts are used up, with this text as
    /// the cause.
    Other(String),
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(after) => {
                Self::Retry(after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
            }
            Failure::Invalid(cause) => Self::Invalid(cause),
            Failure::Other(cause) => Self::Other(cause),
        }
    }
}

impl From<Rejection> for types::Rejection {
    fn from(Rejection { code, message, details }: Rejection) -> Self {
        Self { code, message, details }
    }
}

impl From<types::Rejection> for Rejection {
    fn from(types::Rejection { code, message, details }: types::Rejection) -> Self {
        Self { code, message, details }
    }
}
