//! Texts from outside, of any length, cut to the part that may be kept or shown.

/// The longest cause of a failure that is kept, in bytes; most of it is the guest's backtrace. An outcome or a dead
/// letter with such a cause fits the server's default `max_payload` in every encoding.
pub const MAX_CAUSE_BYTES: usize = 16 * 1024;
/// The most bytes of a name that an error quotes. An allowed name is never longer.
const MAX_QUOTED_BYTES: usize = 80;

/// The part of a cause that is kept.
#[must_use]
pub fn bounded(cause: &str) -> &str {
    &cause[..cause.floor_char_boundary(MAX_CAUSE_BYTES)]
}

/// The beginning of a name, for a quotation.
#[must_use]
pub fn excerpt(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_QUOTED_BYTES)]
}
