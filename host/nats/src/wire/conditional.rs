//! Conditional writes: they are stored only if the last message that a filter matches is still the expected one.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use pelton_core::id::Sequence;
use pelton_core::store::CommitError;

use super::batch::{BatchMessage, publish_batch};
use super::headers::header;
use super::request::PublishError;
use crate::connection::Nats;

/// Messages that are stored together, if the last message that a filter matches is the one that the first of them
/// expects.
#[derive(Debug, Clone)]
pub(crate) struct ConditionalWrite {
    /// The filter of the expectation.
    pub(crate) filter: String,
    /// At least one message; the first carries the expectation.
    pub(crate) messages: Vec<BatchMessage>,
}

/// The place of stored messages.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) sequences: Vec<Sequence>,
}

impl ConditionalWrite {
    /// Messages that this stream stores only if the last message that the filter matches is at `expected` (0: there is
    /// none).
    pub(crate) fn new(stream: &str, filter: String, expected: u64, mut messages: Vec<BatchMessage>) -> Self {
        if let Some(first) = messages.first_mut() {
            let mut expect = |name, value| first.headers.insert(HeaderName::from_static(name), value);
            expect(header::EXPECTED_SUBJECT_SEQUENCE, HeaderValue::from(expected));
            expect(header::EXPECTED_SUBJECT, filter.as_str().into());
            expect(header::EXPECTED_STREAM, stream.into());
        }
        Self { filter, messages }
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(BatchMessage::bytes).sum()
    }

    /// Stores the messages by themselves.
    pub(crate) async fn store(self, nats: &Nats) -> Result<Stored, PublishError> {
        let count = self.messages.len();
        let ack = publish_batch(nats, self.messages).await?;
        Ok(Stored::side_by_side(ack.sequence, count))
    }
}

impl Stored {
    /// The place of `count` adjacent messages, the last at `last`.
    pub(crate) fn side_by_side(last: u64, count: usize) -> Self {
        let sequences = (0..count as u64).rev().map(|back| Sequence(last.saturating_sub(back))).collect();
        Self { sequences }
    }
}

/// The headers of a message that is stored only if its subject's last message is at this sequence (0: there is none).
pub(crate) fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_SUBJECT_SEQUENCE, revision.to_string());
    headers
}

impl From<PublishError> for CommitError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::WrongSequence(_) => Self::Conflict,
            PublishError::Unclear(away) | PublishError::NobodyTakes(away) => Self::Unclear(away),
            PublishError::NotNow(_) => Self::Unclear(pelton_core::store::Unavailable {
                doing: "a conditional write".to_owned(),
                cause: error.to_string(),
            }),
            PublishError::SubjectFull(_) | PublishError::TooLarge(_) | PublishError::Refused(_) => {
                Self::Refused(error.to_string())
            }
        }
    }
}
