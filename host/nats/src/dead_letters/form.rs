//! Converts a dead letter to messages of the dead-letter stream, and back.
//!
//! The payload is the original's. The original's headers have the prefix `Pelton-Header-`, so that none of them has a
//! meaning for the server. Everything else is in headers of Pelton's own. Values are percent-encoded, and so are the
//! original's names, because clients can write names that a header may not have.

use async_nats::HeaderMap;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, first_subject};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Headers, Incoming};
pub(super) use pelton_core::text::bounded;
use pelton_core::time::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::subjects;
use crate::wire::{self, BatchMessage, StoredMessage};

/// The prefix of the original's headers.
const ORIGINAL: &str = "Pelton-Header-";
/// The number of parts that follow a dead letter whose message does not fit beside its description.
const PARTS: &str = "Pelton-Parts";
/// The size of a part, in bytes; with its headers it stays below any sensible `max_payload`.
const PART_BYTES: usize = 256 * 1024;

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
const ENCODED_IN_NAMES: &AsciiSet = &ENCODED.add(b':');

mod name {
    pub(super) const CONSUMER: &str = "Pelton-Consumer";
    pub(super) const KIND: &str = "Pelton-Kind";
    pub(super) const KEY: &str = "Pelton-Key";
    pub(super) const STREAM: &str = "Pelton-Stream";
    pub(super) const SEQUENCE: &str = "Pelton-Sequence";
    pub(super) const SUBJECT: &str = "Pelton-Subject";
    pub(super) const STORED_AT: &str = "Pelton-Stored-At";
    pub(super) const ATTEMPTS: &str = "Pelton-Attempts";
    pub(super) const CAUSE: &str = "Pelton-Cause";
    pub(super) const DIGEST: &str = "Pelton-Digest";
    pub(super) const ID: &str = "Pelton-Dead-Letter";
}

/// The headers of a dead letter in one message: its description and the original's headers.
pub(super) fn whole(dead_letter: &DeadLetter) -> Result<HeaderMap, String> {
    let mut headers = description(dead_letter);
    for (name, value) in dead_letter.message.headers.iter() {
        let name = utf8_percent_encode(name, ENCODED_IN_NAMES);
        headers.push(format!("{ORIGINAL}{name}"), encode(value));
    }
    wire::to_wire(&headers).map_err(|e| e.to_string())
}

/// A dead letter in parts, for one batch: the description alone, then the original's headers and payload in parts. For
/// a message near `max_payload`, which does not fit beside its description.
pub(super) fn in_parts(subject: &str, dead_letter: &DeadLetter) -> Result<Vec<BatchMessage>, String> {
    let pairs: Vec<(&str, &str)> = dead_letter.message.headers.iter().collect();
    let mut bytes = serde_json::to_vec(&pairs).map_err(|e| e.to_string())?;
    bytes.push(b'\n'); // the JSON before it has no line break
    bytes.extend_from_slice(&dead_letter.message.payload);
    let parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
    let mut description = description(dead_letter);
    description.push(PARTS, parts.len().to_string());
    let headers = wire::to_wire(&description).map_err(|e| e.to_string())?;
    let first = BatchMessage { subject: subject.to_owned(), headers, payload: bytes::Bytes::new() };
    let rest = parts.iter().zip(1..).map(|(part, n)| BatchMessage {
        subject: subjects::dead_letter_part(subject, n),
        headers: HeaderMap::new(),
        payload: bytes::Bytes::copy_from_slice(part),
    });
    Ok([first].into_iter().chain(rest).collect())
}

fn description(dead_letter: &DeadLetter) -> Headers {
    let DeadLetter { consumer, key, kind, message, cause, digest } = dead_letter;
    let mut headers = Headers::default();
    headers.push(name::ID, encode(&dead_letter.id()));
    headers.push(name::CONSUMER, encode(consumer));
    headers.push(name::KIND, kind.as_str());
    if let Some(key) = key {
        headers.push(name::KEY, encode(key));
    }
    headers.push(name::STREAM, encode(message.stream.as_str()));
    headers.push(name::SEQUENCE, message.sequence.to_string());
    headers.push(name::SUBJECT, encode(&message.subject));
    headers.push(name::STORED_AT, message.stored_at.to_string());
    headers.push(name::ATTEMPTS, message.attempt.to_string());
    headers.push(name::CAUSE, encode(bounded(cause)));
    if let Some(digest) = digest {
        headers.push(name::DIGEST, encode(digest));
    }
    headers
}

/// The number of parts that follow the message; 0 if it holds the whole dead letter.
pub(super) fn parts(message: &StoredMessage) -> Result<u64, String> {
    message.headers.get(PARTS).map_or(Ok(0), |text| text.parse().map_err(|e| format!("{PARTS}: {e}")))
}

/// Whether the kept message holds a message of this one's subject: a command of its type and id.
pub(super) fn holds(kept: &StoredMessage, message: &Incoming) -> bool {
    let subject = kept.headers.get(name::SUBJECT).map(decode);
    subject.is_some_and(|subject| first_subject(&subject) == first_subject(&message.subject))
}

/// Whether the message is a dead letter of this consumer.
pub(super) fn is_by(kept: &StoredMessage, consumer: &str) -> bool {
    kept.headers.get(name::CONSUMER).map(decode).as_deref() == Some(consumer)
}

pub(super) fn from_parts(bytes: &[u8]) -> Result<(Headers, bytes::Bytes), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("its parts hold no headers")?;
    let pairs: Vec<(String, String)> = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
    Ok((pairs.into_iter().collect(), bytes::Bytes::copy_from_slice(&bytes[end + 1..])))
}

/// The dead letter that the message describes. `None` if it describes none, such as a part of a dead letter.
pub(super) fn dead_letter(message: &StoredMessage) -> Result<Option<DeadLetter>, String> {
    let headers = &message.headers;
    if headers.get(name::ID).is_none() {
        return Ok(None);
    }
    let text = |name: &str| headers.get(name).map(decode);
    let required = |name: &str| text(name).ok_or_else(|| format!("it has no header {name}"));
    let number = |name: &str| required(name)?.parse::<u64>().map_err(|e| format!("{name}: {e}"));
    let original = headers
        .iter()
        .filter_map(|(name, value)| Some((decode(name.strip_prefix(ORIGINAL)?), decode(value))));
    let kind = required(name::KIND)?;
    Ok(Some(DeadLetter {
        consumer: required(name::CONSUMER)?,
        key: text(name::KEY),
        kind: match kind.as_str() {
            "failed" => DeadLetterKind::Failed,
            "parked" => DeadLetterKind::Parked,
            _ => return Err(format!("{} is {kind:?}", name::KIND)),
        },
        message: Incoming {
            stream: Name::new(required(name::STREAM)?).map_err(|e| format!("{}: it {e}", name::STREAM))?,
            sequence: Sequence(number(name::SEQUENCE)?),
            subject: required(name::SUBJECT)?,
            headers: original.collect(),
            payload: message.payload.clone(),
            stored_at: Timestamp::parse(&required(name::STORED_AT)?)?,
            attempt: u32::try_from(number(name::ATTEMPTS)?).unwrap_or(u32::MAX),
        },
        cause: required(name::CAUSE)?,
        digest: text(name::DIGEST),
    }))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
