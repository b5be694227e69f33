//! What crosses the borders, as the contract in `wit/` has it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, CommandType, Name, Sequence};
use crate::subject::Entity;
use crate::time::Timestamp;

/// Names with values, in the order they were given.
pub type Metadata = Vec<(String, String)>;

/// The headers of a message. Names are compared without regard to ASCII case, as CloudEvents asks.
///
/// All names and values lie in one text, behind one another: a message has a dozen of them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

/// What is kept free for each header when many are put together, in bytes. It may have more or less.
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

    /// In the order they were added.
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

/// A message as a stream handed it out, before anybody has looked inside.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The stream that holds it.
    pub stream: Name,
    /// Its position there.
    pub sequence: Sequence,
    /// Where it was published.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// Its payload.
    pub payload: Bytes,
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// How often it has been handed out, this time included: from 1.
    pub attempt: u32,
}

/// A CloudEvents 1.0 event; see `wit/types.wit` for every field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique within `source`.
    pub id: String,
    /// A URI reference.
    pub source: String,
    /// What happened.
    pub r#type: String,
    /// The version of the form of `data`, from 1.
    pub version: u32,
    /// The entity's id in events that Pelton wrote.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// The media type of `data`.
    pub datacontenttype: Option<String>,
    /// Where the schema of `data` is found.
    pub dataschema: Option<String>,
    /// Every other attribute.
    pub extensions: Metadata,
    /// The payload.
    pub data: Bytes,
}

impl Event {
    /// Whether it is of one of these types; an empty list means all.
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
    /// What was written.
    pub event: Event,
    /// The stream's name in the configuration.
    pub stream: Arc<str>,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// When the stream stored it.
    pub recorded_at: Timestamp,
}

/// A command whose entity is known and whose names have been checked.
#[derive(Debug, Clone)]
pub struct Command {
    /// Unique for ever.
    pub id: CommandId,
    /// What is wanted.
    pub r#type: CommandType,
    /// Whom it concerns.
    pub entity: Entity,
    /// When it was stored.
    pub time: Timestamp,
    /// The process that it belongs to.
    pub correlation_id: String,
    /// What caused it, if anything did.
    pub causation_id: Option<String>,
    /// The W3C trace context that it came with.
    pub traceparent: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: Option<String>,
    /// What the sender added.
    pub metadata: Metadata,
    /// The payload.
    pub data: Bytes,
    /// Tells this command from another that reuses its id: a hash of type, entity and payload.
    pub fingerprint: Fingerprint,
    /// Where the sender waits for the outcome.
    pub reply_to: Option<String>,
    /// The entity's sequence that the sender has seen and insists on.
    pub expected: Option<Sequence>,
}

/// The first 16 bytes of a SHA-256, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub Arc<str>);

impl Fingerprint {
    /// Of a command: its type, its entity and its payload, byte by byte.
    #[must_use]
    pub fn of_command(r#type: &str, entity: &Entity, data: &[u8]) -> Self {
        Self::of(&[r#type.as_bytes(), entity.prefix().as_bytes(), data])
    }

    /// Of the parts, each with its length in front so that no two lists of parts look alike.
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

/// An event that a plugin wants to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// One of the types that the plugin declared.
    pub r#type: String,
    /// The version of the form of `data`.
    pub version: u32,
    /// The media type of `data`; `application/json` where it is missing.
    pub datacontenttype: Option<String>,
    /// CloudEvents extension attributes.
    pub extensions: Metadata,
    /// The payload.
    pub data: Bytes,
}

/// A command that a plugin wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// What is wanted.
    pub r#type: String,
    /// The media type of `data`; `application/json` where it is missing.
    pub datacontenttype: Option<String>,
    /// CloudEvents extension attributes.
    pub metadata: Metadata,
    /// The payload.
    pub data: Bytes,
}

/// A rule of the domain says no: an answer, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Which rule, for programs.
    pub code: String,
    /// Which rule, for people.
    pub message: String,
    /// Facts that help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Metadata,
}

impl Rejection {
    /// The command's data cannot be read by its handler.
    pub const INVALID_COMMAND: &str = "invalid-command";
    /// The command's id was used before with another type, entity or payload.
    pub const ID_REUSED: &str = "command-id-reused";
    /// The entity is not at the sequence that the sender insists on.
    pub const VERSION_MISMATCH: &str = "version-mismatch";

    /// A rejection without details.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Vec::new() }
    }
}

/// Why a pure function of a plugin gave no result; see `variant failure` in `wit/types.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work later, after this many milliseconds or on the host's own curve.
    Retry(Option<u64>),
    /// This input will never work.
    Invalid(String),
    /// Something went wrong.
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

    /// Streams hold fingerprints for years: another one would make a retry look like another command.
    #[test]
    fn fingerprints_stay_what_they_are() {
        let parts: [&[u8]; 3] = [b"book-room", b"booking.1.2022-12-12", br#"{"room":1}"#];
        assert_eq!(&*Fingerprint::of(&parts).0, "6479678db7fda97081011bdf9bcdb08b");
    }
}
