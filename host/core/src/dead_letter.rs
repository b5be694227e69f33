//! A message that could not be processed, kept with its cause; and those that wait behind it.

use std::future::Future;

use crate::id::{Name, Sequence};
use crate::message::Incoming;
use crate::store::Unavailable;

/// The header that marks a message as the retry of a dead letter: the letter's position among the dead letters.
///
/// Anybody can write it. It lets the message pass only where that letter is the first of its queue and holds this very
/// message, so all that a forged one can do is to have a letter tried before somebody asked for it.
pub const RETRY_OF: &str = "Pelton-Retry-Of";

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

/// What a message that was set aside means for the later ones of the same entity, view key or instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are parked behind it, in order, until it has been retried or dropped.
    Park,
    /// They go on without it.
    Skip,
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

/// What came of parking a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parking {
    /// It waits, since now or before.
    Parked,
    /// The letter that it was to wait behind is the last no more: look again.
    Overtaken,
    /// It has failed itself, for this cause: whoever set it aside was interrupted after keeping its letter.
    Failed(String),
}

/// Where the flows keep what they cannot process.
///
/// The letters of one consumer and key are a queue, in the order in which they were kept.
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps a letter. Keeping it again is harmless. Where its message is the retry of a letter that is still there,
    /// that one stays in its place, and only the new cause is noted.
    fn keep(&self, letter: DeadLetter) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// The last letter of a queue, as everybody sees it who was told that something was kept or taken out.
    fn last(
        &self,
        consumer: &Name,
        key: &str,
    ) -> impl Future<Output = Result<Option<Sequence>, Unavailable>> + Send;

    /// Whether a message is the retry of the first letter of a queue, as it says, and the letter holds this message.
    fn is_retry_of_first(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
    ) -> impl Future<Output = Result<bool, Unavailable>> + Send;

    /// Keeps the letter of a message that is to wait, if `last` is still the last one of its queue. Keeping it again is
    /// harmless; a command that waits there already is not kept a second time.
    fn keep_behind(
        &self,
        letter: DeadLetter,
        last: Sequence,
    ) -> impl Future<Output = Result<Parking, Unavailable>> + Send;
}

/// What an operator asks of a projection or a saga: to try the letters of a queue again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRequest {
    /// Where it was made among the dead letters: it tells it from one that is made later for the same key.
    pub at: Sequence,
    /// The view key or the instance.
    pub key: String,
}

/// A letter's position, and that of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of the message in its own stream.
    pub message: Sequence,
    /// Of the letter among the dead letters.
    pub letter: Sequence,
}

/// What a projection or a saga needs to try its letters again when an operator asks for it. Commands need none of it:
/// the operator puts them back on their stream.
pub trait Retries: DeadLetters {
    /// A request that is open, if there is one.
    fn request(
        &self,
        consumer: &Name,
    ) -> impl Future<Output = Result<Option<RetryRequest>, Unavailable>> + Send;

    /// The consumer's letters that have a key, or only those of one, in the order of their messages.
    fn places(
        &self,
        consumer: &Name,
        key: Option<&str>,
    ) -> impl Future<Output = Result<Vec<Place>, Unavailable>> + Send;

    /// The letter at a position, if it is still there.
    fn letter(&self, at: Sequence) -> impl Future<Output = Result<Option<DeadLetter>, Unavailable>> + Send;

    /// Notes that the letter's message was processed, and takes the letter out.
    fn settle(&self, at: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Notes that the letter's message failed again. The letter stays.
    fn note_failure(&self, at: Sequence, cause: &str)
    -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Closes this request: everything was done about it. One that was made since stays open.
    fn close(&self, request: &RetryRequest) -> impl Future<Output = Result<(), Unavailable>> + Send;
}
