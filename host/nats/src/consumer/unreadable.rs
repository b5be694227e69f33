//! Messages that the client library cannot read: their headers are not UTF-8, or not headers at all.
//!
//! Any client that may send commands can send one. The library loses the connection when it arrives. So the message is
//! read here as JSON from the stream's leader, kept as a dead letter with its original header block, and terminated.

use std::str::FromStr;

use async_nats::{HeaderName, StatusCode};
use bytes::Bytes;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind};
use pelton_core::id::{Name, Sequence};
use pelton_core::store::Unavailable;

use super::delivered::Delivered;
use crate::connection::Nats;
use crate::dead_letters;
use crate::wire::{self, RawMessage, StoredMessage};

/// The header with the whole block in base64, added to the headers that could be read.
pub(crate) const RAW_HEADERS: &str = "Pelton-Raw-Headers";
/// The most messages that one search reads. A consumer has far fewer delivered and unsettled messages.
const MAX_READ: usize = 10_000;

/// Examines every message that the consumer has delivered and that is not settled, and sets the unreadable ones aside.
/// If one cannot be set aside, its error is returned after all others were examined.
pub(super) async fn set_aside(
    nats: &Nats,
    stream: &str,
    consumer: &str,
    owner: &Name,
) -> Result<(), Unavailable> {
    let Delivered { mut filters, from: first, to } = Delivered::by(nats, stream, consumer).await?;
    if filters.is_empty() {
        filters.push(">".to_owned());
    }
    let mut read = 0;
    let mut all = Ok(());
    for filter in filters {
        let mut from = first;
        while from <= to && read < MAX_READ {
            let Some(message) = wire::leader_next(nats, stream, from, &filter).await? else { break };
            from = Sequence(message.sequence.0 + 1);
            read += 1;
            if message.sequence <= to
                && let Some(cause) = why_unreadable(&message.header_block)
            {
                all = all.and(set_one_aside(nats, stream, consumer, owner, message, &cause).await);
            }
        }
    }
    all
}

async fn set_one_aside(
    nats: &Nats,
    stream: &str,
    consumer: &str,
    owner: &Name,
    message: RawMessage,
    cause: &str,
) -> Result<(), Unavailable> {
    use base64::Engine;
    let (sequence, stored_at) = (message.sequence, message.stored_at);
    let doing = || format!("setting aside sequence {sequence} of stream {stream}");
    let away = |cause: String| Unavailable { doing: doing(), cause };
    tracing::error!(stream, %sequence, subject = message.subject, "set aside: {cause}");
    let name = Name::new(stream).map_err(|e| away(format!("the stream's name {e}")))?;
    let header_block = base64::engine::general_purpose::STANDARD.encode(&message.header_block);
    let mut message = StoredMessage::from(message).into_incoming(name);
    message.headers.push(RAW_HEADERS, header_block);
    let dead_letter = DeadLetter {
        consumer: owner.to_string(),
        key: None,
        kind: DeadLetterKind::Failed,
        message,
        cause: cause.to_owned(),
        digest: None,
    };
    dead_letters::keep(nats, &dead_letter).await?;
    // The subject that the message itself would have brought, as in NATS ADR-15. The server uses the stream sequence;
    // the delivery's own number and time are not known here.
    let reply = format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.1.{}.0", stored_at.0);
    let terminated =
        nats.client().publish(reply, Bytes::from_static(b"+TERM its headers cannot be read")).await;
    terminated.map_err(|e| away(e.to_string()))
}

/// Why the library cannot read a header block, if it cannot. It takes the same steps as the library
/// (`Connection::try_read_op`).
pub(super) fn why_unreadable(block: &[u8]) -> Option<String> {
    if block.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(block) {
        Ok(text) => text,
        Err(error) => return Some(format!("the message's headers are not UTF-8: {error}")),
    };
    let mut lines = text.lines();
    let Some(version) = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) else {
        return Some("the message's headers do not begin with `NATS/1.0`".to_owned());
    };
    let status = version.split_whitespace().next();
    if let Some(status) = status.filter(|status| StatusCode::from_str(status).is_err()) {
        return Some(format!(
            "the message's headers begin with a status {status:?}, which is not a number of three digits"
        ));
    }
    for line in lines.filter(|line| !line.is_empty()) {
        if line.contains('\r') {
            return Some(format!("the message has a header line with a bare carriage return: {line:?}"));
        }
        if line.starts_with(char::is_whitespace) {
            continue; // the continuation of the line before
        }
        let Some((name, _)) = line.split_once(':') else {
            return Some(format!("the message has a header line {line:?} without a colon"));
        };
        if let Err(error) = HeaderName::from_str(name) {
            return Some(format!("the message has a header of the name {name:?}: {error}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_cannot_read_is_told_from_what_it_can() {
        let good: [&[u8]; 4] =
            [b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\na: b\r\nc:d\r\n\r\n", b"NATS/1.0 503 gone\r\n\r\n"];
        for block in good {
            assert_eq!(why_unreadable(block), None, "{block:?}");
        }
        let bad: [(&[u8], &str); 7] = [
            (b"NATS/1.0\r\na: \xff\r\n\r\n", "UTF-8"),
            (b"HTTP/1.1\r\n\r\n", "do not begin"),
            (b"NATS/1.0 hello\r\n\r\n", "status"),
            (b"NATS/1.0\r\nnothing\r\n\r\n", "without a colon"),
            (b"NATS/1.0\r\na b: c\r\n\r\n", "a b"),
            (b"NATS/1.0\r\na: b\rc\r\n\r\n", "carriage return"),
            (b"NATS/1.0\r\na: b\r\n c\rd\r\n\r\n", "carriage return"),
        ];
        for (block, part) in bad {
            let why = why_unreadable(block).unwrap_or_default();
            assert!(why.contains(part), "{block:?}: {why}");
        }
    }
}
