//! A message that could not be processed, kept with its cause, and the messages that wait behind it.

use std::future::Future;

use crate::id::{Name, Sequence};
use crate::message::Incoming;
use crate::store::Unavailable;

/// The header that marks a message as the retry of a dead letter: the dead letter's position among the dead letters.
///
/// Any client can write this header. The message passes only if that dead letter is the first of its queue and holds
/// this very message, so a forged header can only cause a retry before an operator asked for it.
pub const RETRY_OF: &str = "Pelton-Retry-Of";

/// What the subject of a command's retry ends with, after the subject of the command: the log of commands has one message
/// a subject.
pub const RETRY_SUFFIX: &str = ".retry";

/// The subject of a message, of which this is the subject or that of a retry.
#[must_use]
pub fn first_subject(subject: &str) -> &str {
    subject.strip_suffix(RETRY_SUFFIX).unwrap_or(subject)
}

/// Why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterKind {
    /// It failed itself.
    Failed,
    /// It waits behind an earlier message of the same entity, key or instance that failed.
    Parked,
}

impl DeadLetterKind {
    /// The name of the kind in headers and listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }
}

/// What happens to the later messages of the same entity, view key or instance when a message is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are parked behind it, in order, until it is retried or dropped.
    Park,
    /// They go on without it.
    Skip,
}

/// A message that could not be processed.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The handler, projection or saga that could not process it.
    pub consumer: String,
    /// The entity, view key or instance behind which later messages wait, if it is known.
    pub key: Option<String>,
    /// Whether the message failed or waits.
    pub kind: DeadLetterKind,
    /// The message as it was delivered: payload, headers, stream and sequence, attempts.
    pub message: Incoming,
    /// The cause, with the guest's backtrace if there is one.
    pub cause: String,
    /// The digest of the plugin, if one was involved.
    pub digest: Option<String>,
}

impl DeadLetter {
    /// An id that is the same for every try to keep the same message for the same consumer and key.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { consumer, message, key, .. } = self;
        format!("{consumer}:{}:{}:{}", message.stream, message.sequence, key.as_deref().unwrap_or_default())
    }
}

/// The result of parking a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parking {
    /// The message is parked, since now or before.
    Parked,
    /// The dead letter that the message was to wait behind is no longer the last one: look again.
    Overtaken,
    /// The message itself has failed, for this cause: a host kept its dead letter and was interrupted before it settled
    /// the message.
    Failed(String),
}

/// The store of dead letters.
///
/// The dead letters of one consumer and key are a queue, in the order in which they were kept.
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps a dead letter and returns its position. Keeping it again is harmless. If its message is the retry of a dead
    /// letter that still exists, that one stays in its place, and only the new cause is noted.
    fn keep(&self, dead_letter: DeadLetter) -> impl Future<Output = Result<Sequence, Unavailable>> + Send;

    /// The last dead letter of a queue. A linearizable read: it sees every completed write.
    fn last(
        &self,
        consumer: &Name,
        key: &str,
    ) -> impl Future<Output = Result<Option<Sequence>, Unavailable>> + Send;

    /// Whether a message is the retry of a dead letter of a queue, as its header says, and that dead letter holds this
    /// message. Where later messages are parked, only the first dead letter of the queue may be retried.
    fn is_retry(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
        on_failure: OnFailure,
    ) -> impl Future<Output = Result<bool, Unavailable>> + Send;

    /// Parks a message behind `last`, if `last` is still the last dead letter of its queue. Parking it again is
    /// harmless. A command that is parked there already is not kept a second time.
    fn keep_behind(
        &self,
        dead_letter: DeadLetter,
        last: Sequence,
    ) -> impl Future<Output = Result<Parking, Unavailable>> + Send;
}

/// An operator's request to a projection or a saga: retry the dead letters of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRequest {
    /// The position of the request among the dead letters. It tells the request from a later one for the same key.
    pub at: Sequence,
    /// The view key or the instance.
    pub key: String,
}

/// The positions of a dead letter and of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The position of the message in its own stream.
    pub message: Sequence,
    /// The position of the dead letter among the dead letters.
    pub dead_letter: Sequence,
}

/// The operations with which dead letters are retried on an operator's request. Commands need only
/// [`settle`](Self::settle): the operator logs a command once more.
pub trait Retries: DeadLetters {
    /// A request that is open, if there is one.
    fn request(
        &self,
        consumer: &Name,
    ) -> impl Future<Output = Result<Option<RetryRequest>, Unavailable>> + Send;

    /// The consumer's dead letters that have a key, or only those of one key, in the order of their messages.
    fn places(
        &self,
        consumer: &Name,
        key: Option<&str>,
    ) -> impl Future<Output = Result<Vec<Place>, Unavailable>> + Send;

    /// The dead letter at a position, if it still exists.
    fn dead_letter(
        &self,
        at: Sequence,
    ) -> impl Future<Output = Result<Option<DeadLetter>, Unavailable>> + Send;

    /// Notes that the dead letter's message was processed, and removes the dead letter.
    fn settle(&self, at: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Notes that the dead letter's message failed again. The dead letter stays.
    fn note_failure(&self, at: Sequence, cause: &str)
    -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Closes this request after all its work is done. A later request for the same key stays open.
    fn close(&self, request: &RetryRequest) -> impl Future<Output = Result<(), Unavailable>> + Send;
}
