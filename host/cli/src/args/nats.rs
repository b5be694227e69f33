//! `pelton nats`

use clap::{Args, Subcommand, ValueEnum};
use pelton_nats::permissions::Role;

/// `pelton nats`
#[derive(Debug, Subcommand)]
pub(crate) enum NatsCommand {
    /// Print the permissions of a user, as the configuration of nats-server has them
    Permissions(PermissionsArgs),
}

/// `pelton nats permissions`
#[derive(Debug, Args)]
pub(crate) struct PermissionsArgs {
    /// Of whom; without it, of all
    #[arg(value_enum)]
    pub(crate) role: Option<RoleArg>,
}

/// A user of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Sends commands and waits for their outcomes
    Client,
    /// Pushes components into the plugin store
    Publisher,
    /// Says which version a plugin runs
    Releaser,
    /// Runs handlers, projections and sagas
    Host,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Client => Self::Client,
            RoleArg::Publisher => Self::Publisher,
            RoleArg::Releaser => Self::Releaser,
            RoleArg::Host => Self::Host,
        }
    }
}
