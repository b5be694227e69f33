//! `pelton why`

use clap::Args;

use super::common::ServerArgs;

/// `pelton why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The id of a command or an event, or an entity as subjects begin with it, such as `book.emma`
    #[arg(value_name = "EVENT|COMMAND|ENTITY")]
    pub(crate) what: String,
    /// The most messages of an entity that are shown, the last ones
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: usize,
}
