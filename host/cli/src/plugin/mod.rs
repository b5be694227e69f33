//! `pelton plugin`: manages the plugin store and switches versions.

mod activate;
mod client;
pub(crate) mod conformance;
mod contract;
mod drain;
mod gc;
mod history;
mod push;
mod rehearse;
mod show;
mod standing;

use crate::args::plugin::PluginCommand;
use crate::exit::Failure;

/// Runs the subcommand.
pub(crate) async fn run(command: &PluginCommand) -> Result<(), Failure> {
    match command {
        PluginCommand::Push(arguments) => push::run(arguments).await,
        PluginCommand::List(arguments) => show::list(arguments).await,
        PluginCommand::Show(arguments) => show::show(arguments).await,
        PluginCommand::Activate(arguments) => activate::activate(arguments).await,
        PluginCommand::Rollback(arguments) => activate::rollback(arguments).await,
        PluginCommand::History(arguments) => history::run(arguments).await,
        PluginCommand::Gc(arguments) => gc::run(arguments).await,
        PluginCommand::DiffContract(arguments) => contract::run(arguments).await,
    }
}
