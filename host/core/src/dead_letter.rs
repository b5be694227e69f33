//! A message that could not be processed, kept with its cause.

use crate::message::Incoming;

/// Why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterKind {
    /// It failed itself.
    Failed,
    /// It waits behind an earlier one of the same entity, key or instance that failed.
    Parked,
}

impl DeadLetterKind {
    /// The word for it in headers and listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }
}

/// A message that could not be processed.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The handler, projection or saga that could not process it.
    pub consumer: String,
    /// The entity, view key or instance behind which later messages wait, where that is known.
    pub key: Option<String>,
    /// Whether it failed or waits.
    pub kind: DeadLetterKind,
    /// The message as it came: payload, headers, stream and sequence, attempts.
    pub message: Incoming,
    /// Why, with the guest's backtrace where there is one.
    pub cause: String,
    /// The plugin's digest, where one was involved.
    pub digest: Option<String>,
}

impl DeadLetter {
    /// The same for every try to keep the same message for the same consumer and key.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { consumer, message, key, .. } = self;
        format!("{consumer}:{}:{}:{}", message.stream, message.sequence, key.as_deref().unwrap_or_default())
    }
}
