//! `pelton hosts`

use clap::Args;

use super::common::ServerArgs;

/// `pelton hosts`
#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
