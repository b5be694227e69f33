//! Texts that outsiders wrote, of any length, cut to what may be kept or shown of them.

/// The longest cause of a failure that is kept, in bytes; guests' backtraces are the long part. An outcome or a dead
/// letter with it fits the server's default `max_payload` however it is written.
pub const MAX_CAUSE_BYTES: usize = 16 * 1024;
/// How much of a name an error quotes, in bytes. No name that is allowed is longer.
const MAX_QUOTED_BYTES: usize = 80;

/// A cause as it is kept.
#[must_use]
pub fn bounded(cause: &str) -> &str {
    &cause[..cause.floor_char_boundary(MAX_CAUSE_BYTES)]
}

/// The beginning of a name, to be quoted.
#[must_use]
pub fn excerpt(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_QUOTED_BYTES)]
}
