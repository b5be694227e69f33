//! `pelton status`

use std::time::Duration;

use clap::Args;

use super::common::ServerArgs;
use crate::config::duration;

/// `pelton status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Repeat until Ctrl-C
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = duration)]
    pub(crate) watch: Option<Duration>,
}
