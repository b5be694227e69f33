//! The errors that every store shares.

use crate::id::Sequence;

/// The store cannot be reached, or did not answer in time. Whether it did what it was asked for is unknown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct Unavailable {
    /// The operation, with the stream or subject.
    pub doing: String,
    /// What came instead of an answer.
    pub cause: String,
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The store is unavailable. The read may work later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A stored message is not what it should be.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// A stored message is not what it should be. It stays so until an operator acts.
#[derive(Debug, Clone, thiserror::Error)]
#[error("message {sequence} of stream {stream}, subject {subject}, cannot be read: it {cause}")]
pub struct Unreadable {
    /// The stream that holds it.
    pub stream: String,
    /// Its position there.
    pub sequence: Sequence,
    /// Where it was published.
    pub subject: String,
    /// What is wrong with it.
    pub cause: String,
}

/// Why a write failed, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer has written since. Nothing was stored.
    #[error("another writer has written since")]
    Conflict,
    /// The write may have been stored. Read again.
    #[error(transparent)]
    Unclear(#[from] Unavailable),
    /// The server will never accept the write. Nothing was stored.
    #[error("the server refuses it: {0}")]
    Refused(String),
}
