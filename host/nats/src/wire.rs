//! What goes over the wire: headers, publishes with their answers, and the two ways to read single messages.
//!
//! A leader read (`$JS.API.STREAM.MSG.GET.<stream>`) sees every write that was acknowledged before it. A direct read
//! (`$JS.API.DIRECT.GET.<stream>`) is answered by any replica and may be behind; it is several times as fast.

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, Request, RequestErrorKind};
use bytes::Bytes;
use futures::StreamExt;
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Headers, Incoming};
use pelton_core::ports::Unavailable;
use pelton_core::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::connection::Nats;

/// Headers that the server obeys. None of these is taken from outside: see [`to_wire`].
pub(crate) mod header {
    pub(crate) const PREFIX: &str = "Nats-";
    pub(crate) const MSG_ID: &str = "Nats-Msg-Id";
    pub(crate) const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
    pub(crate) const EXPECTED_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";
    pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";
    pub(super) const STREAM: &str = "Nats-Stream";
    pub(super) const SUBJECT: &str = "Nats-Subject";
    pub(super) const SEQUENCE: &str = "Nats-Sequence";
    pub(super) const TIME: &str = "Nats-Time-Stamp";
    pub(super) const NUM_PENDING: &str = "Nats-Num-Pending";
    pub(super) const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
}

/// A header that cannot go over the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {name:?} cannot be sent: {cause}")]
pub(crate) struct BadHeader {
    name: String,
    cause: String,
}

/// Headers as the client library wants them, without any that the server would obey (`Nats-…`, in any case).
pub(crate) fn to_wire(headers: &Headers) -> Result<HeaderMap, BadHeader> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        if !is_servers_own(name) {
            append(&mut map, name, value)?;
        }
    }
    Ok(map)
}

/// Whether the server gives this header a meaning.
pub(crate) fn is_servers_own(name: &str) -> bool {
    name.get(..header::PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(header::PREFIX))
}

fn append(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), BadHeader> {
    let bad = |cause: String| BadHeader { name: name.to_owned(), cause };
    let key: HeaderName = name.parse().map_err(|e| bad(format!("{e}")))?;
    let value: HeaderValue = value.parse().map_err(|e| bad(format!("{e}")))?;
    map.append(key, value);
    Ok(())
}

/// Headers as core has them. Names keep their case; names that differ stand in alphabetical order, for the library
/// does not keep the sender's.
pub(crate) fn from_wire(map: Option<&HeaderMap>) -> Headers {
    let mut pairs: Vec<(String, String)> = map
        .into_iter()
        .flat_map(HeaderMap::iter)
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
        .collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    pairs.into_iter().collect()
}

/// A message as a consumer hands it out.
pub(crate) fn incoming(message: &async_nats::jetstream::Message) -> Result<Incoming, String> {
    let info = message.info().map_err(|e| format!("the reply subject of a consumer's message: {e}"))?;
    Ok(Incoming {
        stream: Name::new(info.stream).map_err(|e| format!("the stream's name {:?} {e}", info.stream))?,
        sequence: Sequence(info.stream_sequence),
        subject: message.subject.to_string(),
        headers: from_wire(message.headers.as_ref()),
        payload: message.payload.clone(),
        stored_at: Timestamp::from_nanoseconds(info.published.unix_timestamp_nanos()),
        attempt: u32::try_from(info.delivered).unwrap_or(u32::MAX).max(1),
    })
}

/// A message as a stream holds it.
#[derive(Debug, Clone)]
pub(crate) struct StoredMessage {
    pub(crate) subject: String,
    pub(crate) sequence: Sequence,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
    pub(crate) stored_at: Timestamp,
}

/// What the server says of an error.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{description} (error code {err_code})")]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u64,
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// That something was stored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PubAck {
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
    /// A message with this id was stored before; nothing was stored now.
    #[serde(default)]
    pub(crate) duplicate: bool,
    /// How many messages an atomic batch stored.
    #[serde(default, rename = "count")]
    pub(crate) batch_size: u64,
}

/// Why something was not stored, as far as is known. Named by what the server checked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PublishError {
    /// 10071, and 10164 in races on three replicas: an expectation does not hold. Nothing was stored.
    #[error("{0}")]
    WrongSequence(ApiError),
    /// 10077 with "maximum messages per subject": the subject holds its first message for ever. Nothing was stored.
    #[error("{0}")]
    SubjectFull(ApiError),
    /// The message or its headers are too large, for the server or for the stream. Nothing was stored.
    #[error("{0}")]
    TooLarge(String),
    /// The server will never take it like this. Nothing was stored.
    #[error("{0}")]
    Refused(String),
    /// Nothing was stored by this publish, and whether another one has stored it must be looked up: 10158 (its id is
    /// being stored right now), 10201 (a batch with an id that is stored), 10163, 10176 and 10210 (the server was busy,
    /// or lost part of the batch).
    #[error("{0}")]
    NotNow(ApiError),
    /// No answer, or one that does not say whether it is stored.
    #[error(transparent)]
    Unclear(#[from] Unavailable),
}

impl PublishError {
    fn of(error: ApiError, doing: &str) -> Self {
        match error.err_code {
            10071 | 10164 => Self::WrongSequence(error),
            10077 if error.description.contains("per subject") => Self::SubjectFull(error),
            10054 | 10097 => Self::TooLarge(error.to_string()),
            10158 | 10163 | 10176 | 10201 | 10210 => Self::NotNow(error),
            // Settings of the stream or of the message that no retry changes: wrong stream, sealed, no batches, a bad or
            // too large batch, a bad expectation.
            10060 | 10109 | 10174 | 10175 | 10177 | 10179 | 10193 | 10199 | 10200 => Self::Refused(error.to_string()),
            _ => Self::Unclear(Unavailable { doing: doing.to_owned(), cause: error.to_string() }),
        }
    }
}

/// Publishes one message to a stream and waits for it to be stored.
pub(crate) async fn publish(nats: &Nats, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<PubAck, PublishError> {
    let doing = || format!("publishing to {subject}");
    let request = Request::new().headers(headers).payload(payload);
    let message = match send(nats, subject, request).await {
        Ok(message) => message,
        Err(SendError::TooLarge(cause)) => return Err(PublishError::TooLarge(cause)),
        Err(SendError::Invalid(cause)) => return Err(PublishError::Refused(cause)),
        Err(SendError::NoAnswer(why)) => return Err(PublishError::Unclear(why.explain(nats, doing(), subject))),
    };
    match answer::<PubAck>(&message.payload) {
        Ok(ack) => Ok(ack),
        Err(error) => Err(PublishError::of(error, &doing())),
    }
}

/// Asks the JetStream API. The error inside is the server's answer.
pub(crate) async fn api<T: DeserializeOwned>(
    nats: &Nats,
    subject: &str,
    payload: Bytes,
    doing: &str,
) -> Result<Result<T, ApiError>, Unavailable> {
    let message = request(nats, subject, payload, doing).await?;
    Ok(answer(&message.payload))
}

/// The last message whose subject matches, as the leader has it.
pub(crate) async fn leader_last(nats: &Nats, stream: &str, filter: &str) -> Result<Option<StoredMessage>, Unavailable> {
    leader_read(nats, stream, &serde_json::json!({ "last_by_subj": filter }), filter).await
}

/// The message at a sequence, as the leader has it.
pub(crate) async fn leader_at(nats: &Nats, stream: &str, sequence: Sequence) -> Result<Option<StoredMessage>, Unavailable> {
    leader_read(nats, stream, &serde_json::json!({ "seq": sequence }), &sequence.to_string()).await
}

async fn leader_read(nats: &Nats, stream: &str, query: &serde_json::Value, what: &str) -> Result<Option<StoredMessage>, Unavailable> {
    #[derive(Deserialize)]
    struct Answer {
        message: Raw,
    }
    #[derive(Deserialize)]
    struct Raw {
        subject: String,
        seq: u64,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
        time: Timestamp,
    }
    let doing = format!("reading {what} from the leader of stream {stream}");
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    match api::<Answer>(nats, &subject, query.to_string().into(), &doing).await? {
        Ok(Answer { message }) => {
            let unreadable = |cause: String| Unavailable { doing: doing.clone(), cause };
            let headers = raw_headers(&base64(&message.hdrs).map_err(unreadable)?);
            let payload = base64(&message.data).map_err(unreadable)?.into();
            let sequence = Sequence(message.seq);
            Ok(Some(StoredMessage { subject: message.subject, sequence, headers, payload, stored_at: message.time }))
        }
        Err(error) if error.err_code == NO_MESSAGE => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// "no message found"
const NO_MESSAGE: u64 = 10037;

fn base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| format!("the answer holds no base64: {e}"))
}

/// A header block as it is stored: a version line, then `name: value` lines.
fn raw_headers(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1);
    lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect()
}

/// The last message whose subject matches, as one of the replicas has it.
pub(crate) async fn direct_last(nats: &Nats, stream: &str, filter: &str) -> Result<Option<StoredMessage>, Unavailable> {
    direct_read(nats, stream, &serde_json::json!({ "last_by_subj": filter }), filter).await
}

/// The message at a sequence, as one of the replicas has it.
pub(crate) async fn direct_at(nats: &Nats, stream: &str, sequence: Sequence) -> Result<Option<StoredMessage>, Unavailable> {
    direct_read(nats, stream, &serde_json::json!({ "seq": sequence }), &sequence.to_string()).await
}

async fn direct_read(nats: &Nats, stream: &str, query: &serde_json::Value, what: &str) -> Result<Option<StoredMessage>, Unavailable> {
    let doing = format!("reading {what} from stream {stream}");
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let message = request(nats, &subject, query.to_string().into(), &doing).await?;
    match message.status.map(|s| s.as_u16()) {
        None => stored(&message).map(Some).map_err(|cause| Unavailable { doing, cause }),
        Some(404) => Ok(None),
        Some(status) => Err(Unavailable { doing, cause: format!("status {status} {}", message.description.unwrap_or_default()) }),
    }
}

/// Messages of a stream whose subjects match, in order.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) messages: Vec<StoredMessage>,
    /// Whether the replica that answered has more.
    pub(crate) more: bool,
}

/// At most `max` messages whose subjects match, from a sequence on, as one of the replicas has them.
///
/// The server answers one query with many messages and ends with status 204. Every message says which one came before
/// it, so that one that gets lost on the way is noticed.
pub(crate) async fn direct_from(
    nats: &Nats,
    stream: &str,
    filter: &str,
    from: Sequence,
    max: usize,
) -> Result<Tail, Unavailable> {
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let doing = || format!("reading {filter} from sequence {from} of stream {stream}");
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let query = serde_json::json!({ "batch": max, "seq": from.0.max(1), "next_by_subj": filter });
    let inbox = nats.client().new_inbox();
    let mut answers = nats.client().subscribe(inbox.clone()).await.map_err(|e| away(e.to_string()))?;
    nats.client()
        .publish_with_reply(subject.clone(), inbox, query.to_string().into())
        .await
        .map_err(|e| away(e.to_string()))?;
    let mut messages: Vec<StoredMessage> = Vec::new();
    loop {
        let message = match tokio::time::timeout(nats.request_timeout(), answers.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(away("the connection is closed".to_owned())),
            Err(_) => return Err(nats.timed_out(doing(), &subject)),
        };
        let last = messages.last().map_or(0, |m| m.sequence.0);
        match message.status.map(|s| s.as_u16()) {
            None => {
                let before: Option<u64> = servers_last(&message, header::LAST_SEQUENCE);
                if before.is_some_and(|before| before != last) {
                    return Err(away(format!("a message after sequence {last} was lost on the way")));
                }
                messages.push(stored(&message).map_err(away)?);
            }
            Some(204) => {
                let before: Option<u64> = servers_last(&message, header::LAST_SEQUENCE);
                if before.is_some_and(|before| before != last) {
                    return Err(away(format!("a message after sequence {last} was lost on the way")));
                }
                let more = servers_last::<u64>(&message, header::NUM_PENDING).is_some_and(|pending| pending > 0);
                return Ok(Tail { messages, more });
            }
            Some(404) => return Ok(Tail { messages, more: false }),
            Some(503) => return Err(away("no server answers for this stream".to_owned())),
            Some(status) => return Err(away(format!("status {status} {}", message.description.unwrap_or_default()))),
        }
    }
}

/// The server adds its headers behind those that a message was stored with, so its word is the last one.
fn servers_last<T: std::str::FromStr>(message: &Message, name: &'static str) -> Option<T> {
    let value = message.headers.as_ref()?.get_last(HeaderName::from_static(name))?;
    value.as_str().parse().ok()
}

fn stored(message: &Message) -> Result<StoredMessage, String> {
    fn get<T: std::str::FromStr>(message: &Message, name: &'static str) -> Result<T, String> {
        servers_last(message, name).ok_or_else(|| format!("the answer has no usable header {name}"))
    }
    let time: String = get(message, header::TIME)?;
    let ours = [header::STREAM, header::SUBJECT, header::SEQUENCE, header::TIME, header::NUM_PENDING, header::LAST_SEQUENCE];
    let headers = from_wire(message.headers.as_ref());
    Ok(StoredMessage {
        subject: get(message, header::SUBJECT)?,
        sequence: Sequence(get(message, header::SEQUENCE)?),
        headers: headers.iter().filter(|(n, _)| !ours.contains(n)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        payload: message.payload.clone(),
        stored_at: Timestamp::parse(&time)?,
    })
}

/// Publishes without waiting for anything. The error says why it cannot even be sent.
pub(crate) async fn fire(client: &Client, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), PublishError> {
    use async_nats::PublishErrorKind;
    let doing = format!("publishing to {subject}");
    match client.publish_with_headers(subject, headers, payload).await {
        Ok(()) => Ok(()),
        Err(error) => Err(match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge(error.to_string()),
            PublishErrorKind::InvalidSubject => PublishError::Refused(error.to_string()),
            PublishErrorKind::Send => PublishError::Unclear(Unavailable { doing, cause: error.to_string() }),
        }),
    }
}

async fn request(nats: &Nats, subject: &str, payload: Bytes, doing: &str) -> Result<Message, Unavailable> {
    match send(nats, subject, Request::new().payload(payload)).await {
        Ok(message) => Ok(message),
        Err(SendError::TooLarge(cause) | SendError::Invalid(cause)) => Err(Unavailable { doing: doing.to_owned(), cause }),
        Err(SendError::NoAnswer(why)) => Err(why.explain(nats, doing.to_owned(), subject)),
    }
}

enum SendError {
    TooLarge(String),
    Invalid(String),
    NoAnswer(NoAnswer),
}

enum NoAnswer {
    TimedOut,
    NoResponders,
    Other(String),
}

impl NoAnswer {
    fn explain(self, nats: &Nats, doing: String, subject: &str) -> Unavailable {
        match self {
            Self::TimedOut => nats.timed_out(doing, subject),
            Self::NoResponders => Unavailable { doing, cause: "no server answers for it: the stream is away, or JetStream is".to_owned() },
            Self::Other(cause) => Unavailable { doing, cause },
        }
    }
}

async fn send(nats: &Nats, subject: &str, request: Request) -> Result<Message, SendError> {
    nats.client().send_request(subject.to_owned(), request).await.map_err(|error| {
        let text = || match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error.kind() {
            RequestErrorKind::MaxPayloadExceeded => SendError::TooLarge(text()),
            RequestErrorKind::InvalidSubject => SendError::Invalid(text()),
            RequestErrorKind::TimedOut => SendError::NoAnswer(NoAnswer::TimedOut),
            RequestErrorKind::NoResponders => SendError::NoAnswer(NoAnswer::NoResponders),
            RequestErrorKind::Other => SendError::NoAnswer(NoAnswer::Other(text())),
        }
    })
}

fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    #[derive(Deserialize)]
    struct Refusal {
        error: ApiError,
    }
    match serde_json::from_slice::<Refusal>(payload) {
        Ok(refusal) => Err(refusal.error),
        Err(_) => serde_json::from_slice(payload).map_err(|e| ApiError {
            code: 500,
            err_code: 0,
            description: format!("the answer cannot be read: {e}"),
        }),
    }
}
