//! The interfaces that the host offers to guests: one file for each interface that a plugin may import.

pub(crate) mod log;
pub(crate) mod settings;
pub(crate) mod wasi;
