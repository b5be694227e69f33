//! The text layer: from TOML to single values with their places, and what is wrong with them. It knows no table of
//! `pelton.toml`; the files beside this folder do.

pub(super) mod key;
pub(super) mod problem;
pub(super) mod reader;
pub(super) mod value;
