//! Messages that could not be processed, kept in the dead-letter stream.
//!
//! A letter lies at `dead-letter.<consumer>.<kind>.<stream>.<sequence>.<key>`, the key as a hash. The stream holds one
//! message per subject, so keeping the same message again changes nothing, however much later. (A message id would
//! have the server forget a letter that was taken out and comes back within the duplicate window.)
//!
//! The payload is the original's. The original's headers are there with `Pelton-Header-` in front, so that none of
//! them means anything to the server; everything else is in headers of Pelton's own. Values are percent-encoded.

use async_nats::HeaderMap;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Fingerprint, Headers, Incoming};
use pelton_core::ports::Unavailable;
use pelton_core::time::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::batch::{BatchMessage, publish_batch};
use crate::connection::Nats;
use crate::topology::DEAD_LETTERS;
use crate::wire::{self, PublishError, StoredMessage, header};

/// The longest cause that is kept, in bytes before encoding; guests' backtraces are the long part.
pub const MAX_CAUSE_BYTES: usize = 16 * 1024;
/// What original headers have in front.
const ORIGINAL: &str = "Pelton-Header-";
/// How many parts follow a letter whose message does not fit beside its description.
const PARTS: &str = "Pelton-Parts";
/// The size of a part, in bytes; with its headers it stays below any sensible `max_payload`.
const PART_BYTES: usize = 256 * 1024;

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

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

/// Where a letter lies.
#[must_use]
pub fn letter_subject(letter: &DeadLetter) -> String {
    let DeadLetter { consumer, key, kind, message, .. } = letter;
    let key = key
        .as_ref()
        .map_or_else(|| "-".to_owned(), |key| Fingerprint::of(&[key.as_bytes()]).0[..16].to_owned());
    format!("dead-letter.{consumer}.{}.{}.{}.{key}", kind.as_str(), message.stream, message.sequence)
}

/// Keeps a letter. Keeping it again is harmless.
pub(crate) async fn keep(nats: &Nats, letter: &DeadLetter) -> Result<(), Unavailable> {
    let subject = letter_subject(letter);
    let doing = || format!("keeping a dead letter at {subject}");
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let description = description(letter);
    let mut headers = description.clone();
    for (name, value) in letter.message.headers.iter() {
        headers.push(format!("{ORIGINAL}{name}"), encode(value));
    }
    let whole = wire::to_wire(&headers).map_err(|e| away(e.to_string()))?;
    let kept = match wire::publish(nats, &subject, expecting(whole), letter.message.payload.clone()).await {
        Err(PublishError::TooLarge(_)) => {
            publish_batch(nats, in_parts(&subject, description, &letter.message).map_err(away)?).await
        }
        answer => answer,
    };
    match kept {
        Ok(_) | Err(PublishError::SubjectFull(_)) => Ok(()),
        Err(error) => Err(away(error.to_string())),
    }
}

/// A letter as the stream holds it.
#[derive(Debug, Clone)]
pub struct KeptLetter {
    /// Its position in the dead-letter stream.
    pub sequence: Sequence,
    /// When it was set aside.
    pub kept_at: Timestamp,
    /// The letter. Its attempts are those that had been made.
    pub letter: DeadLetter,
}

/// The letter at a position of the dead-letter stream; none where there is none, or only a part of one.
pub async fn read(nats: &Nats, sequence: Sequence) -> Result<Option<KeptLetter>, Unavailable> {
    let Some(message) = wire::leader_at(nats, DEAD_LETTERS, sequence).await? else { return Ok(None) };
    let doing = || format!("reading the dead letter at sequence {sequence}");
    let unreadable = |cause: String| Unavailable { doing: doing(), cause };
    let Some(letter) = letter(&message).map_err(unreadable)? else { return Ok(None) };
    let Some(parts) = message.headers.get(PARTS) else {
        return Ok(Some(KeptLetter { sequence, kept_at: message.stored_at, letter }));
    };
    let count: u64 = parts.parse().map_err(|e| unreadable(format!("{PARTS}: {e}")))?;
    let mut bytes = Vec::new();
    for n in 1..=count {
        let subject = part_subject(&message.subject, n);
        let part = wire::leader_last(nats, DEAD_LETTERS, &subject).await?;
        bytes.extend_from_slice(
            &part.ok_or_else(|| unreadable(format!("its part {n} of {count} is gone")))?.payload,
        );
    }
    let (headers, payload) = from_parts(&bytes).map_err(unreadable)?;
    let letter = DeadLetter { message: Incoming { headers, payload, ..letter.message }, ..letter };
    Ok(Some(KeptLetter { sequence, kept_at: message.stored_at, letter }))
}

fn description(letter: &DeadLetter) -> Headers {
    let DeadLetter { consumer, key, kind, message, cause, digest } = letter;
    let mut headers = Headers::default();
    headers.push(name::ID, encode(&letter.id()));
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

fn expecting(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(header::EXPECTED_STREAM, DEAD_LETTERS);
    headers
}

/// A message near `max_payload` does not fit beside its description: the description alone, then headers and payload
/// of the original in parts, all in one batch.
fn in_parts(
    subject: &str,
    mut description: Headers,
    message: &Incoming,
) -> Result<Vec<BatchMessage>, String> {
    let pairs: Vec<(&str, &str)> = message.headers.iter().collect();
    let mut bytes = serde_json::to_vec(&pairs).map_err(|e| e.to_string())?;
    bytes.push(b'\n'); // JSON has none of its own
    bytes.extend_from_slice(&message.payload);
    let parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
    description.push(PARTS, parts.len().to_string());
    let headers = wire::to_wire(&description).map_err(|e| e.to_string())?;
    let first = BatchMessage {
        subject: subject.to_owned(),
        headers: expecting(headers),
        payload: bytes::Bytes::new(),
    };
    let rest = parts.iter().zip(1..).map(|(part, n)| BatchMessage {
        subject: part_subject(subject, n),
        headers: HeaderMap::new(),
        payload: bytes::Bytes::copy_from_slice(part),
    });
    Ok([first].into_iter().chain(rest).collect())
}

fn part_subject(subject: &str, n: u64) -> String {
    format!("{subject}.part.{n}")
}

fn from_parts(bytes: &[u8]) -> Result<(Headers, bytes::Bytes), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("its parts hold no headers")?;
    let pairs: Vec<(String, String)> = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
    Ok((pairs.into_iter().collect(), bytes::Bytes::copy_from_slice(&bytes[end + 1..])))
}

/// A part of a letter has no description: none.
fn letter(message: &StoredMessage) -> Result<Option<DeadLetter>, String> {
    let headers = &message.headers;
    if headers.get(name::ID).is_none() {
        return Ok(None);
    }
    let text = |name: &str| headers.get(name).map(decode);
    let required = |name: &str| text(name).ok_or_else(|| format!("it has no header {name}"));
    let number = |name: &str| required(name)?.parse::<u64>().map_err(|e| format!("{name}: {e}"));
    let original = headers
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(ORIGINAL)?.to_owned(), decode(value))));
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

fn bounded(cause: &str) -> &str {
    let end =
        (0..=cause.len().min(MAX_CAUSE_BYTES)).rev().find(|at| cause.is_char_boundary(*at)).unwrap_or(0);
    &cause[..end]
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
