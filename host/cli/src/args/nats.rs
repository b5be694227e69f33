//! `pelton nats`

use clap::{Args, Subcommand, ValueEnum};
use pelton_nats::permissions::Role;

/// `pelton nats`
#[derive(Debug, Subcommand)]
pub(crate) enum NatsCommand {
    /// Print a user's permissions in the form of nats-server's configuration
    Permissions(PermissionsArgs),
}

/// `pelton nats permissions`
#[derive(Debug, Args)]
pub(crate) struct PermissionsArgs {
    /// The user; without it, all users
    #[arg(value_enum)]
    pub(crate) role: Option<RoleArg>,
}

/// A kind of user of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Sends commands and waits for their outcomes
    Client,
    /// Pushes components into the plugin store
    Publisher,
    /// Activates versions of plugins
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
