//! The values that cross the borders, as in the contract in `wit/`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::contract::RESERVED_PREFIX;
use crate::id::{CommandId, CommandType, Name, Position, Sequence};
use crate::subject::Entity;
use crate::time::Timestamp;

/// Names with values, in the order in which they were given.
pub type Metadata = Vec<(String, String)>;

/// The headers of a message. Names are compared without regard to ASCII case, as CloudEvents requires.
///
/// All names and values lie one after the other in one text, because a message has a dozen of them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers {
    text: String,
    /// The end of each name and each value.
    ends: Vec<(usize, usize)>,
}

/// The bytes that are reserved for each header when many are added. A header may have more or fewer.
const USUAL_HEADER_BYTES: usize = 48;

impl Headers {
    /// Adds a header at the end.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        self.text.push_str(name.as_ref());
        let name_ends = self.text.len();
        self.text.push_str(value.as_ref());
        self.ends.push((name_ends, self.text.len()));
    }

    /// The first value under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The headers, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        self.ends.iter().map(move |&(name_ends, value_ends)| {
            let header = (&self.text[begin..name_ends], &self.text[name_ends..value_ends]);
            begin = value_ends;
            header
        })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let pairs = pairs.into_iter();
        let (count, _) = pairs.size_hint();
        let text = String::with_capacity(count * USUAL_HEADER_BYTES);
        let mut headers = Self { text, ends: Vec::with_capacity(count) };
        pairs.for_each(|(name, value)| headers.push(name, value));
        headers
    }
}

/// A message as a stream delivered it, not yet decoded.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The stream that holds it.
    pub stream: Name,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// The subject that it was published to.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its payload.
    pub payload: Bytes,
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// The number of deliveries, from 1, this one included.
    pub attempt: u32,
}

/// A CloudEvents 1.0 event; see `wit/types.wit` for every field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique within `source`.
    pub id: String,
    /// A URI reference.
    pub source: String,
    /// The type, for example `room-booked`.
    pub r#type: String,
    /// The version of the form of `data`, from 1.
    pub version: u32,
    /// The entity's id, in events that Pelton wrote.
    pub subject: Option<String>,
    /// When the event happened.
    pub time: Option<Timestamp>,
    /// The media type of `data`.
    pub datacontenttype: Option<String>,
    /// The URI of the schema of `data`.
    pub dataschema: Option<String>,
    /// Every other attribute.
    pub extensions: Metadata,
    /// The payload.
    pub data: Bytes,
}

impl Event {
    /// Whether the event is of one of these types. An empty list means all types.
    #[must_use]
    pub fn is_of(&self, types: &[EventType]) -> bool {
        types.is_empty() || types.iter().any(|t| t.r#type == self.r#type && t.version == self.version)
    }

    /// The value of an extension attribute.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An event as a stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The event.
    pub event: Event,
    /// The stream's name in the configuration.
    pub stream: Arc<str>,
    /// The position of its message in the stream.
    pub sequence: Sequence,
    /// Which of the events that an upcaster made of the message this is, from 0.
    pub part: u32,
    /// When the stream stored it.
    pub recorded_at: Timestamp,
}

impl RecordedEvent {
    /// Where the event lies. Whoever compares how far something was handled compares this.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { sequence: self.sequence, part: self.part }
    }
}

/// A command whose entity is known and whose names have been checked.
#[derive(Debug, Clone)]
pub struct Command {
    /// Unique for ever.
    pub id: CommandId,
    /// The type, for example `book-room`.
    pub r#type: CommandType,
    /// The entity that the command concerns.
    pub entity: Entity,
    /// Where it lies in the log of commands. [`Sequence::NONE`] for the retry of a dead letter, which may have ended long
    /// before it was logged.
    pub logged_at: Sequence,
    /// When it was stored.
    pub time: Timestamp,
    /// The process that the command belongs to.
    pub correlation_id: String,
    /// The id of the event, command or timer that caused it, if there is one.
    pub causation_id: Option<String>,
    /// The W3C trace context of the command's message.
    pub traceparent: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: Option<String>,
    /// Who asked for it, if the host knows.
    pub principal: Option<String>,
    /// The sender's additions.
    pub metadata: Metadata,
    /// The host's additions.
    pub context: Metadata,
    /// The payload.
    pub data: Bytes,
    /// A hash of type, entity and payload. It tells this command from another that reuses its id.
    pub fingerprint: Fingerprint,
    /// The subject at which the sender waits for the outcome.
    pub reply_to: Option<String>,
    /// The sequence that the sender expects the entity to be at.
    pub expected: Option<Sequence>,
    /// What the saga's instance that sent it calls it. No handler sees it.
    pub reference: Option<String>,
    /// How many reactions of sagas led to it, one after the other: the extension
    /// `peltondepth`.
    pub depth: u32,
}

/// The first 16 bytes of a SHA-256, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub Arc<str>);

impl Fingerprint {
    /// The fingerprint of a command: of its type, its entity and its payload, byte by byte.
    #[must_use]
    pub fn of_command(r#type: &str, entity: &Entity, data: &[u8]) -> Self {
        Self::of(&[r#type.as_bytes(), entity.prefix().as_bytes(), data])
    }

    /// The fingerprint of the parts. Each is hashed with its length in front, so that no two lists of parts look alike.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut text = String::with_capacity(32);
        for byte in &hash.finalize()[..16] {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        Self(text.into())
    }
}

/// An event that a plugin emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// One of the types that the plugin declared.
    pub r#type: String,
    /// The version of the form of `data`.
    pub version: u32,
    /// The media type of `data`: `application/json` if it is missing.
    pub datacontenttype: Option<String>,
    /// CloudEvents extension attributes.
    pub extensions: Metadata,
    /// The payload.
    pub data: Bytes,
}

/// A command that a plugin sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// The type.
    pub r#type: String,
    /// What the plugin calls it; only the plugin sees it, with the outcome.
    pub reference: Option<String>,
    /// The media type of `data`: `application/json` if it is missing.
    pub datacontenttype: Option<String>,
    /// CloudEvents extension attributes.
    pub metadata: Metadata,
    /// The payload.
    pub data: Bytes,
}

/// A rule of the domain forbids the command. A rejection is an answer, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The rule, for programs.
    pub code: String,
    /// The rule, for people.
    pub message: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Metadata,
}

impl Rejection {
    /// The command's data cannot be read by its handler.
    pub const INVALID_COMMAND: &str = "invalid-command";
    /// The command's id was used before with another type, entity or payload.
    pub const ID_REUSED: &str = "command-id-reused";
    /// The entity is not at the sequence that the sender expects.
    pub const VERSION_MISMATCH: &str = "version-mismatch";

    /// Whether only the host rejects with this code.
    #[must_use]
    pub fn is_of_host(code: &str) -> bool {
        matches!(code, Self::ID_REUSED | Self::VERSION_MISMATCH) || code.starts_with(RESERVED_PREFIX)
    }

    /// A rejection without details.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Vec::new() }
    }
}

/// Why a pure function of a plugin returned no result; see `variant failure` in `wit/types.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The call may succeed later: after this many milliseconds, or with the host's backoff.
    Retry(Option<u64>),
    /// This input will never succeed.
    Invalid(String),
    /// The call failed.
    Other(String),
}

/// One event type that a plugin writes or reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType {
    /// For example `room-booked`.
    pub r#type: String,
    /// From 1.
    pub version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams hold fingerprints for years. If the hash changed, a retry would look like another command.
    #[test]
    fn fingerprints_stay_what_they_are() {
        let parts: [&[u8]; 3] = [b"book-room", b"booking.1.2022-12-12", br#"{"room":1}"#];
        assert_eq!(&*Fingerprint::of(&parts).0, "6479678db7fda97081011bdf9bcdb08b");
    }
}
