//! Reads messages of a stream, in two ways.
//!
//! A leader read (`$JS.API.STREAM.MSG.GET.<stream>`) sees every write that was acknowledged before it, and its answer
//! is JSON. A direct read (`$JS.API.DIRECT.GET.<stream>`) is answered by any replica, which may be behind, and its
//! answer is the message itself; it is several times as fast. Direct reads have a connection of their own, because a
//! message whose headers cannot be read breaks it. An answer that is lost with it is read from the leader.

use std::sync::Arc;

use async_nats::{HeaderName, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use pelton_core::id::{Name, Sequence};
use pelton_core::message::{Headers, Incoming};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;

use super::headers::{from_wire, header};
use super::request::{api, request_reading};
use crate::connection::Nats;

/// A message as a stream holds it.
#[derive(Debug, Clone)]
pub(crate) struct StoredMessage {
    pub(crate) subject: String,
    pub(crate) sequence: Sequence,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
    pub(crate) stored_at: Timestamp,
}

/// The last message whose subject matches, read from the leader.
pub(crate) async fn leader_last(
    nats: &Nats,
    stream: &str,
    filter: &str,
) -> Result<Option<StoredMessage>, Unavailable> {
    leader_read(nats, stream, &serde_json::json!({ "last_by_subj": filter }), filter).await
}

/// The message at a sequence, read from the leader.
pub(crate) async fn leader_at(
    nats: &Nats,
    stream: &str,
    sequence: Sequence,
) -> Result<Option<StoredMessage>, Unavailable> {
    leader_read(nats, stream, &serde_json::json!({ "seq": sequence }), &sequence.to_string()).await
}

async fn leader_read(
    nats: &Nats,
    stream: &str,
    query: &serde_json::Value,
    what: &str,
) -> Result<Option<StoredMessage>, Unavailable> {
    Ok(leader_raw(nats, stream, query, what).await?.map(StoredMessage::from))
}

/// The sequence of the first message whose subject matches and that was stored at this time or later, as the leader has
/// it.
pub(crate) async fn first_since(
    nats: &Nats,
    stream: &str,
    filter: &str,
    since: Timestamp,
) -> Result<Option<Sequence>, Unavailable> {
    let query = serde_json::json!({ "start_time": since, "next_by_subj": filter });
    Ok(leader_raw(nats, stream, &query, filter).await?.map(|message| message.sequence))
}

/// A message as a stream holds it, with its original headers, which may be unreadable.
#[derive(Debug, Clone)]
pub(crate) struct RawMessage {
    pub(crate) subject: String,
    pub(crate) sequence: Sequence,
    pub(crate) header_block: Vec<u8>,
    pub(crate) payload: Bytes,
    pub(crate) stored_at: Timestamp,
}

impl StoredMessage {
    /// The message as a consumer of this stream delivers it for the first time.
    pub(crate) fn into_incoming(self, stream: Name) -> Incoming {
        let Self { subject, sequence, headers, payload, stored_at } = self;
        Incoming { stream, sequence, subject, headers, payload, stored_at, attempt: 1 }
    }
}

impl From<RawMessage> for StoredMessage {
    fn from(raw: RawMessage) -> Self {
        let RawMessage { subject, sequence, header_block, payload, stored_at } = raw;
        Self { subject, sequence, headers: raw_headers(&header_block), payload, stored_at }
    }
}

/// Deletes a message. A message that is gone already is not an error.
pub(crate) async fn delete(nats: &Nats, stream: &str, sequence: Sequence) -> Result<(), Unavailable> {
    let doing = format!("deleting message {sequence} of stream {stream}");
    let subject = format!("$JS.API.STREAM.MSG.DELETE.{stream}");
    let request = serde_json::json!({ "seq": sequence }).to_string();
    match api::<serde::de::IgnoredAny>(nats, &subject, request.into(), &doing).await? {
        Ok(_) => Ok(()),
        Err(_) if leader_at(nats, stream, sequence).await?.is_none() => Ok(()),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// The first message at or after a sequence whose subject matches, read from the leader. The answer is JSON, so it can
/// be read whatever the message's headers are.
pub(crate) async fn leader_next(
    nats: &Nats,
    stream: &str,
    from: Sequence,
    filter: &str,
) -> Result<Option<RawMessage>, Unavailable> {
    leader_raw(nats, stream, &serde_json::json!({ "seq": from, "next_by_subj": filter }), filter).await
}

async fn leader_raw(
    nats: &Nats,
    stream: &str,
    query: &serde_json::Value,
    what: &str,
) -> Result<Option<RawMessage>, Unavailable> {
    #[derive(Deserialize)]
    struct Answer {
        message: Held,
    }
    #[derive(Deserialize)]
    struct Held {
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
        Ok(Answer { message: Held { subject, seq, hdrs, data, time } }) => {
            let unreadable = |cause: String| Unavailable { doing: doing.clone(), cause };
            let header_block = base64(&hdrs).map_err(unreadable)?;
            let payload = base64(&data).map_err(unreadable)?.into();
            Ok(Some(RawMessage { subject, sequence: Sequence(seq), header_block, payload, stored_at: time }))
        }
        Err(error) if error.err_code == NO_MESSAGE => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// "no message found"
const NO_MESSAGE: u64 = 10037;

fn base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|e| format!("the answer holds no base64: {e}"))
}

/// Parses a stored header block: a version line, then `name: value` lines.
fn raw_headers(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1);
    lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect()
}

/// The last message whose subject matches, read from any replica.
pub(crate) async fn direct_last(
    nats: &Nats,
    stream: &str,
    filter: &str,
) -> Result<Option<StoredMessage>, Unavailable> {
    direct_read(nats, stream, &serde_json::json!({ "last_by_subj": filter }), filter).await
}

/// The message at a sequence, read from any replica.
pub(crate) async fn direct_at(
    nats: &Nats,
    stream: &str,
    sequence: Sequence,
) -> Result<Option<StoredMessage>, Unavailable> {
    direct_read(nats, stream, &serde_json::json!({ "seq": sequence }), &sequence.to_string()).await
}

async fn direct_read(
    nats: &Nats,
    stream: &str,
    query: &serde_json::Value,
    what: &str,
) -> Result<Option<StoredMessage>, Unavailable> {
    let doing = format!("reading {what} from stream {stream}");
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let Some(message) = request_reading(nats, &subject, query.to_string().into(), &doing).await? else {
        return leader_read(nats, stream, query, what).await;
    };
    match status(&message) {
        None => stored(&message).map(Some).map_err(|cause| Unavailable { doing, cause }),
        Some(404) => Ok(None),
        Some(status) => Err(Unavailable {
            doing,
            cause: format!("status {status} {}", message.description.unwrap_or_default()),
        }),
    }
}

/// Messages of a stream whose subjects match, in order.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) messages: Vec<StoredMessage>,
    /// Whether there may be more.
    pub(crate) more: bool,
}

impl Tail {
    /// The position at which to continue. `None` at the end.
    pub(crate) fn next(&self) -> Option<Sequence> {
        self.messages.last().filter(|_| self.more).map(|last| Sequence(last.sequence.0 + 1))
    }
}

/// At most `max` messages whose subjects match, from a sequence on, read from any replica.
///
/// The server answers one request with many messages and ends with status 204. Every message names the one before it,
/// so a message that is lost in transit is noticed.
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
    let mut answers = Answers::to(nats, &subject, query.to_string().into(), &doing).await?;
    let mut messages: Vec<StoredMessage> = Vec::new();
    loop {
        let Some(message) = answers.next(&doing).await? else {
            return leader_page(nats, stream, filter, from, max).await;
        };
        let last = messages.last().map_or(0, |m| m.sequence.0);
        match status(&message) {
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
                let more =
                    servers_last::<u64>(&message, header::NUM_PENDING).is_some_and(|pending| pending > 0);
                return Ok(Tail { messages, more });
            }
            Some(404) => return Ok(Tail { messages, more: false }),
            Some(503) => return Err(away("no server answers for this stream".to_owned())),
            Some(status) => {
                return Err(away(format!("status {status} {}", message.description.unwrap_or_default())));
            }
        }
    }
}

/// At most `max` messages whose subjects match, from a sequence on, with every write that was acknowledged before. If
/// replicas may be behind, they are read from the leader, which answers one message at a time.
pub(crate) async fn page(
    nats: &Nats,
    stream: &str,
    filter: &str,
    from: Sequence,
    max: usize,
    replicated: bool,
) -> Result<Tail, Unavailable> {
    if !replicated {
        return direct_from(nats, stream, filter, from, max).await;
    }
    leader_page(nats, stream, filter, from, max).await
}

/// At most `max` messages whose subjects match, from a sequence on, one by one from the leader.
async fn leader_page(
    nats: &Nats,
    stream: &str,
    filter: &str,
    from: Sequence,
    max: usize,
) -> Result<Tail, Unavailable> {
    let mut messages: Vec<StoredMessage> = Vec::new();
    let mut next = from;
    while messages.len() < max {
        let Some(message) = leader_next(nats, stream, next, filter).await? else {
            return Ok(Tail { messages, more: false });
        };
        next = Sequence(message.sequence.0 + 1);
        messages.push(message.into());
    }
    Ok(Tail { messages, more: true })
}

/// The answers to one request, over the connection for reads.
struct Answers<'a> {
    nats: &'a Nats,
    reading: Arc<Nats>,
    connects: watch::Receiver<u64>,
    subject: &'a str,
    messages: Subscriber,
}

impl<'a> Answers<'a> {
    async fn to(
        nats: &'a Nats,
        subject: &'a str,
        query: Bytes,
        doing: impl Fn() -> String,
    ) -> Result<Self, Unavailable> {
        let reading = nats.reading().await?;
        let connects = reading.connects();
        let client = reading.client();
        let inbox = client.new_inbox();
        let asked = async {
            let messages = client.subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
            let sent = client.publish_with_reply(subject.to_owned(), inbox, query).await;
            sent.map(|()| messages).map_err(|e| e.to_string())
        };
        match asked.await {
            Ok(messages) => Ok(Self { nats, reading, connects, subject, messages }),
            Err(cause) => {
                nats.give_up_reading(&reading);
                Err(Unavailable { doing: doing(), cause })
            }
        }
    }

    /// The next message. `None`: the connection was lost, perhaps because of that very message.
    async fn next(&mut self, doing: impl Fn() -> String) -> Result<Option<Message>, Unavailable> {
        tokio::select! {
            biased;
            message = self.messages.next() => {
                if message.is_none() {
                    self.nats.give_up_reading(&self.reading);
                }
                Ok(message)
            }
            _ = self.connects.changed() => Ok(None),
            () = tokio::time::sleep(self.nats.request_timeout()) => {
                Err(self.reading.timed_out(doing(), self.subject))
            }
        }
    }
}

/// The last messages of some subjects, as many as fit into one answer.
#[derive(Debug, Default)]
pub(crate) struct Lasts {
    /// The messages, in the order of their sequences.
    pub(crate) messages: Vec<StoredMessage>,
    /// The last sequence that the replica had stored when it began to answer; 0 if it had nothing to answer.
    pub(crate) up_to: u64,
    /// Whether there are others that did not fit.
    pub(crate) more: bool,
}

/// One request `multi_last`: the last message of each subject, all of one moment, read from any replica. The server
/// answers at most 1,024 messages (`maxAllowedResponses` in its `getDirectMulti`).
pub(crate) async fn direct_lasts(
    nats: &Nats,
    stream: &str,
    subjects: &[&str],
    max_bytes: usize,
) -> Result<Lasts, Unavailable> {
    let doing = || format!("reading the last messages of {} subjects from stream {stream}", subjects.len());
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let api = format!("$JS.API.DIRECT.GET.{stream}");
    let query = serde_json::json!({ "multi_last": subjects, "max_bytes": max_bytes }).to_string();
    let mut answers = Answers::to(nats, &api, query.into(), &doing).await?;
    let mut lasts = Lasts::default();
    loop {
        let Some(message) = answers.next(&doing).await? else {
            return Err(away(
                "the connection was lost over the answer; if that lasts, a message of the stream has headers that cannot \
                 be read"
                    .to_owned(),
            ));
        };
        let last = lasts.messages.last().map_or(0, |m| m.sequence.0);
        let lost = servers_last::<u64>(&message, header::LAST_SEQUENCE).is_some_and(|before| before != last);
        match status(&message) {
            None | Some(204) if lost => {
                return Err(away(format!("a message after sequence {last} was lost on the way")));
            }
            None => lasts.messages.push(stored(&message).map_err(away)?),
            Some(204) => {
                let number = |name| {
                    servers_last::<u64>(&message, name)
                        .ok_or_else(|| away(format!("the answer has no usable {name}")))
                };
                lasts.up_to = number(header::UP_TO)?;
                lasts.more = number(header::NUM_PENDING)? > 0;
                return Ok(lasts);
            }
            Some(404) if message.description.as_deref() == Some("No Results") => return Ok(lasts),
            Some(503) => return Err(away("no server answers for it: does the stream exist?".to_owned())),
            Some(status) => {
                return Err(away(format!("status {status} {}", message.description.unwrap_or_default())));
            }
        }
    }
}

/// The status that the server sent instead of a message. A stored message may have any first line, so an answer with a
/// sequence is a message.
fn status(message: &Message) -> Option<u16> {
    let says = message.status.map(|s| s.as_u16())?;
    servers_last::<u64>(message, header::SEQUENCE).is_none().then_some(says)
}

/// The last value of a header. The server adds its own headers after those of the stored message.
fn servers_last<T: std::str::FromStr>(message: &Message, name: &'static str) -> Option<T> {
    let value = message.headers.as_ref()?.get_last(HeaderName::from_static(name))?;
    value.as_str().parse().ok()
}

fn stored(message: &Message) -> Result<StoredMessage, String> {
    fn get<T: std::str::FromStr>(message: &Message, name: &'static str) -> Result<T, String> {
        servers_last(message, name).ok_or_else(|| format!("the answer has no usable header {name}"))
    }
    let time: String = get(message, header::TIME)?;
    let ours = [
        header::STREAM,
        header::SUBJECT,
        header::SEQUENCE,
        header::TIME,
        header::NUM_PENDING,
        header::LAST_SEQUENCE,
    ];
    let headers = from_wire(message.headers.as_ref());
    Ok(StoredMessage {
        subject: get(message, header::SUBJECT)?,
        sequence: Sequence(get(message, header::SEQUENCE)?),
        headers: headers
            .iter()
            .filter(|(n, _)| !ours.contains(n))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect(),
        payload: message.payload.clone(),
        stored_at: Timestamp::parse(&time)?,
    })
}
