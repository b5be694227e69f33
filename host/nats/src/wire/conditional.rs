//! Writes that are made only if the last message of their subject is still the expected one.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use pelton_core::id::Sequence;
use pelton_core::store::CommitError;

use super::batch::{BatchMessage, publish_batch};
use super::headers::header;
use super::request::PublishError;
use crate::connection::Nats;

/// Messages that are stored together, if the last one that a filter matches is the one that the first of them expects.
#[derive(Debug, Clone)]
pub(crate) struct ConditionalWrite {
    /// What the expectation is on.
    pub(crate) filter: String,
    /// At least one; the first carries the expectation.
    pub(crate) messages: Vec<BatchMessage>,
}

/// Where messages are stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) sequences: Vec<Sequence>,
    /// A message with the id of one was stored before: these are not.
    pub(crate) duplicate: bool,
}

impl ConditionalWrite {
    /// Messages that this stream stores only if the last one that the filter matches is at `expected` (0: there is none).
    pub(crate) fn new(stream: &str, filter: String, expected: u64, mut messages: Vec<BatchMessage>) -> Self {
        if let Some(first) = messages.first_mut() {
            let mut expect = |name, value| first.headers.insert(HeaderName::from_static(name), value);
            expect(header::EXPECTED_SUBJECT_SEQUENCE, HeaderValue::from(expected));
            expect(header::EXPECTED_SUBJECT, filter.as_str().into());
            expect(header::EXPECTED_STREAM, stream.into());
        }
        Self { filter, messages }
    }

    /// What it has on the wire.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(BatchMessage::bytes).sum()
    }

    /// Stores it by itself.
    pub(crate) async fn store(self, nats: &Nats) -> Result<Stored, PublishError> {
        let count = self.messages.len();
        let ack = publish_batch(nats, self.messages).await?;
        Ok(Stored { duplicate: ack.duplicate, ..Stored::side_by_side(ack.sequence, count) })
    }
}

impl Stored {
    /// So many messages side by side, the last one here.
    pub(crate) fn side_by_side(last: u64, count: usize) -> Self {
        let sequences = (0..count as u64).rev().map(|back| Sequence(last.saturating_sub(back))).collect();
        Self { sequences, duplicate: false }
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
            PublishError::Unclear(away) => Self::Unclear(away),
            PublishError::NotNow(_) => Self::Unclear(pelton_core::store::Unavailable {
                doing: "a guarded write".to_owned(),
                cause: error.to_string(),
            }),
            PublishError::SubjectFull(_) | PublishError::TooLarge(_) | PublishError::Refused(_) => {
                Self::Refused(error.to_string())
            }
        }
    }
}
