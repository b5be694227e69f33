//! `pelton new`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::check_name;

/// `pelton new`
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the folder, which also begins the names of its crates: `a` to `z`, `0` to `9` and `-`
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: String,
    /// The roles to add to the command handler
    #[arg(long, value_enum, value_name = "ROLE", value_delimiter = ',')]
    pub(crate) with: Vec<ExtraRole>,
    /// The language of the plugins
    #[arg(long, value_enum, default_value_t)]
    pub(crate) lang: Language,
    /// Take the SDK from this folder, a clone of Pelton or its plugins/sdk/rust; without it, the published
    /// version that belongs to this program
    #[arg(long, value_name = "DIR", env = "PELTON_SDK")]
    pub(crate) sdk: Option<PathBuf>,
}

/// A role that a new folder can have beside the command handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExtraRole {
    /// A view of the handler's events.
    Projection,
    /// A process that answers events with commands.
    Saga,
}

/// A language that there are templates for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust.
    #[default]
    Rust,
}

/// The longest name: a crate's name is the folder's with a suffix, and has at most 48 bytes as well.
const MAX_BYTES: usize = 32;

fn name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|(_, wrong)| format!("it {wrong}"))?;
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it does not begin with a letter, as the name of a crate does".to_owned());
    }
    if text.len() > MAX_BYTES {
        return Err(format!("it has {} bytes; at most {MAX_BYTES} are allowed", text.len()));
    }
    Ok(text.to_owned())
}
