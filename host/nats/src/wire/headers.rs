//! Conversion of headers between core and the client library, and of messages to core.

use std::borrow::Cow;
use std::fmt;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Headers, Incoming};
use pelton_core::time::Timestamp;

/// Headers that the server obeys. None of these is accepted from clients: see [`to_wire`].
pub(crate) mod header {
    pub(crate) const PREFIX: &str = "Nats-";
    pub(crate) const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
    pub(crate) const EXPECTED_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const TTL: &str = "Nats-TTL";
    pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";
    pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";
    pub(crate) const SCHEDULE: &str = "Nats-Schedule";
    pub(crate) const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
    /// The subject of a schedule that this message ends, together with `NEXT: purge`.
    pub(crate) const SCHEDULER: &str = "Nats-Scheduler";
    pub(crate) const SCHEDULE_NEXT: &str = "Nats-Schedule-Next";
    pub(crate) const STREAM: &str = "Nats-Stream";
    pub(crate) const SUBJECT: &str = "Nats-Subject";
    pub(crate) const SEQUENCE: &str = "Nats-Sequence";
    pub(crate) const TIME: &str = "Nats-Time-Stamp";
    pub(crate) const NUM_PENDING: &str = "Nats-Num-Pending";
    pub(crate) const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
    pub(crate) const UP_TO: &str = "Nats-UpTo-Sequence";
}

/// A header that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {name:?} cannot be sent: {cause}")]
pub(crate) struct BadHeader {
    name: String,
    cause: String,
}

impl BadHeader {
    fn new(name: &str, cause: impl fmt::Display) -> Self {
        Self { name: name.to_owned(), cause: cause.to_string() }
    }
}

/// Converts headers for the client library, without those that the server would obey (`Nats-…`, in any case).
pub(crate) fn to_wire(headers: &Headers) -> Result<HeaderMap, BadHeader> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        if !is_servers_own(name) {
            append(&mut map, name, value)?;
        }
    }
    Ok(map)
}

/// Converts headers with different names for the client library. A borrowed name comes from the code, so it is not
/// checked.
pub(crate) fn header_map<'a>(
    headers: impl Iterator<Item = (Cow<'static, str>, Cow<'a, str>)>,
) -> Result<HeaderMap, BadHeader> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value: HeaderValue = value.parse().map_err(|e| BadHeader::new(&name, e))?;
        let name = match name {
            Cow::Borrowed(name) => HeaderName::from_static(name),
            Cow::Owned(name) => name.parse().map_err(|e| BadHeader::new(&name, e))?,
        };
        map.insert(name, value);
    }
    Ok(map)
}

/// Whether the server gives this header a meaning.
pub(crate) fn is_servers_own(name: &str) -> bool {
    name.get(..header::PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(header::PREFIX))
}

fn append(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), BadHeader> {
    let key: HeaderName = name.parse().map_err(|e| BadHeader::new(name, e))?;
    let value: HeaderValue = value.parse().map_err(|e| BadHeader::new(name, e))?;
    map.append(key, value);
    Ok(())
}

/// Converts headers for core. Names keep their case. Different names are in alphabetical order, because the library
/// does not keep the sender's order.
pub(crate) fn from_wire(map: Option<&HeaderMap>) -> Headers {
    let mut pairs: Vec<(&str, &str)> = map
        .into_iter()
        .flat_map(HeaderMap::iter)
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
        .collect();
    pairs.sort_by_key(|(name, _)| *name);
    pairs.into_iter().collect()
}

/// A message of a consumer for core, and the consumer's number of this delivery: without a gap over everything that the
/// consumer delivers, to whomever.
pub(crate) fn incoming(message: &async_nats::jetstream::Message) -> Result<(Incoming, u64), String> {
    let info = message.info().map_err(|e| format!("the reply subject of a consumer's message: {e}"))?;
    let incoming = Incoming {
        stream: Name::new(info.stream).map_err(|e| format!("the stream's name {:?} {e}", info.stream))?,
        sequence: Sequence(info.stream_sequence),
        subject: message.subject.as_str().to_owned(),
        headers: from_wire(message.headers.as_ref()),
        payload: message.payload.clone(),
        stored_at: Timestamp::from_nanoseconds(info.published.unix_timestamp_nanos()),
        attempt: u32::try_from(info.delivered).unwrap_or(u32::MAX).max(1),
    };
    Ok((incoming, info.consumer_sequence))
}
