//! Pelton, end to end.
#![forbid(unsafe_code)]
