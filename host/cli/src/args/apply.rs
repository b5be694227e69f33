//! `pelton apply`

use clap::{Args, ValueEnum};

use super::common::ServerArgs;

/// `pelton apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The server. The components are loaded, because they say the versions of views.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Start the NATS server of `pelton dev` for this, unless it runs
    #[arg(long, conflicts_with = "nats")]
    pub(crate) dev: bool,
    /// Make the changes without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// The changes that a start makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApplyAtStart {
    /// Changes that only add: a command, a subject, a longer retention.
    Additive,
}
