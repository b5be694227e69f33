//! `pelton apply`

use clap::{Args, ValueEnum};

use super::common::ServerArgs;

/// `pelton apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Which server. The versions of views are asked of the components.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Start the NATS server of `pelton dev` for this, unless it runs
    #[arg(long, conflicts_with = "nats")]
    pub(crate) dev: bool,
    /// Make the changes without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Which changes a start makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApplyAtStart {
    /// Those that only add: a command, a subject, a longer retention.
    Additive,
}
