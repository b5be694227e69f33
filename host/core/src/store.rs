//! The errors that every store shares.

/// The store cannot be reached, or did not answer in time. Whether it did what it was asked for is unknown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct Unavailable {
    /// The operation, with the stream or subject.
    pub doing: String,
    /// What came instead of an answer.
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
