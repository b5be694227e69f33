//! `pelton why`

use clap::Args;

use super::common::ServerArgs;

/// `pelton why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The id of a command or an event, or the beginning of an entity's subjects, such as `book.emma`
    #[arg(value_name = "EVENT|COMMAND|ENTITY")]
    pub(crate) what: String,
    /// Show at most this many of an entity's last messages
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: usize,
}
