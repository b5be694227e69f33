//! What every store answers when it does not do what it was asked.

/// The store cannot be reached, or did not answer in time. Whether it did what it was asked is unknown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct Unavailable {
    /// What was asked of it, with the stream or subject.
    pub doing: String,
    /// What came instead of an answer.
    pub cause: String,
}

/// Why a write was not made, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has written since. Nothing was stored.
    #[error("somebody else has written since")]
    Conflict,
    /// Perhaps it was made, perhaps not: read again.
    #[error(transparent)]
    Unclear(#[from] Unavailable),
    /// The server will never take it. Nothing was stored.
    #[error("the server refuses it: {0}")]
    Refused(String),
}
