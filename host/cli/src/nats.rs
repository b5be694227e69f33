//! `pelton nats`: what a NATS server has to be told about Pelton.

use pelton_nats::permissions::Role;

use crate::args::nats::NatsCommand;
use crate::terminal::say;

/// Runs the subcommand.
pub(crate) fn run(command: &NatsCommand) {
    let NatsCommand::Permissions(arguments) = command;
    let roles = arguments.role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role.into()]);
    for role in roles {
        say(&format!("# {}\n{}", role.name(), role.permissions()));
    }
}
