//! Atomic batches: several messages of one stream that are stored together or not at all (NATS ADR-50).
//!
//! Every message carries `Nats-Batch-Id` and `Nats-Batch-Sequence`, from 1; the last also `Nats-Batch-Commit: 1`. Only
//! the last is a request. Its answer holds the stream sequence of the last message, and the number of stored messages.
//! They are adjacent in the stream. The server drops a batch that is not ended within 10 s.

use async_nats::HeaderMap;
use bytes::Bytes;
use pelton_core::store::Unavailable;

use super::headers::header;
use super::request::{self, PubAck, PublishError};
use crate::connection::Nats;

/// The most messages of one batch. The server answers 10199 to more.
pub(crate) const MAX_BATCH_MESSAGES: usize = 1000;

/// One message of a batch.
#[derive(Debug, Clone)]
pub(crate) struct BatchMessage {
    pub(crate) subject: String,
    /// Also holds expectations and message ids. Of messages whose subjects share an expectation's filter only the first
    /// carries it.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl BatchMessage {
    /// The bytes on the wire, headers and payload.
    pub(crate) fn bytes(&self) -> usize {
        header_bytes(&self.headers) + self.payload.len()
    }
}

/// Stores all messages or none. The answer has the sequence of the last one. A batch of one is a plain publish.
pub(crate) async fn publish_batch(
    nats: &Nats,
    mut messages: Vec<BatchMessage>,
) -> Result<PubAck, PublishError> {
    let count = messages.len();
    let Some(last) = messages.pop() else {
        return Err(PublishError::Refused("the batch is empty".to_owned()));
    };
    if count == 1 {
        return request::publish(nats, &last.subject, last.headers, last.payload).await;
    }
    if count > MAX_BATCH_MESSAGES {
        return Err(PublishError::Refused(format!(
            "{count} messages in one batch; at most {MAX_BATCH_MESSAGES} are allowed"
        )));
    }
    check_sizes(nats, &messages, &last)?;
    let id = format!("{:032x}", rand::random::<u128>());
    for (n, mut message) in messages.into_iter().enumerate() {
        message.headers.insert(header::BATCH_ID, id.as_str());
        message.headers.insert(header::BATCH_SEQUENCE, (n + 1).to_string());
        request::fire(nats.client(), message.subject, message.headers, message.payload).await?;
    }
    #[cfg(debug_assertions)]
    if crate::failpoint::due(crate::failpoint::MID_BATCH) {
        // Flushes what was sent so far to the server.
        let _ = nats.client().flush().await;
        crate::failpoint::crash();
    }
    let mut headers = last.headers;
    headers.insert(header::BATCH_ID, id.as_str());
    headers.insert(header::BATCH_SEQUENCE, count.to_string());
    headers.insert(header::BATCH_COMMIT, "1");
    let ack = request::publish(nats, &last.subject, headers, last.payload).await?;
    if ack.batch_size != count as u64 {
        let cause = format!("the server says that {} of {count} messages are stored", ack.batch_size);
        return Err(PublishError::Unclear(Unavailable {
            doing: format!("publishing a batch to {}", last.subject),
            cause,
        }));
    }
    Ok(ack)
}

/// The most bytes that the batch's own headers add to a message.
const BATCH_HEADER_BYTES: usize = 128;

/// Checks all sizes before the first message is sent, so that a message that is too large does not leave an open batch
/// behind.
fn check_sizes(nats: &Nats, messages: &[BatchMessage], last: &BatchMessage) -> Result<(), PublishError> {
    let max = nats.client().max_payload();
    for message in messages.iter().chain([last]) {
        let bytes = message.bytes() + BATCH_HEADER_BYTES;
        if bytes > max {
            let subject = &message.subject;
            return Err(PublishError::TooLarge(format!(
                "{bytes} bytes with headers for {subject}; the server takes {max}"
            )));
        }
    }
    Ok(())
}

/// The size of a header block on the wire, in bytes.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    let line = |name: &str, value: &str| name.len() + value.len() + 4;
    let lines: usize = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| line(name.as_ref(), value.as_str())))
        .sum();
    lines + 14
}
