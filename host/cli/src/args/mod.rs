//! The command line: one file for each command, and what several of them take in [`common`].

pub(crate) mod apply;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod common;
pub(crate) mod completions;
pub(crate) mod component;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod hosts;
pub(crate) mod nats;
pub(crate) mod new;
pub(crate) mod plugin;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod saga;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod why;

use clap::{Parser, Subcommand};

use apply::ApplyArgs;
use build::BuildArgs;
use check::CheckArgs;
use common::LogFormat;
use completions::CompletionsArgs;
use component::ComponentArgs;
use dev::DevArgs;
use dlq::DlqCommand;
use hosts::HostsArgs;
use nats::NatsCommand;
use new::NewArgs;
use plugin::PluginCommand;
use record::RecordArgs;
use run::RunArgs;
use saga::SagaCommand;
use status::StatusArgs;
use test::{CanIActivateArgs, TestArgs};
use why::WhyArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked, or it was stopped with SIGINT or SIGTERM and stopped cleanly
  1  `pelton test` found a case or a rule that is not kept, or `pelton can-i-activate` says no
  2  the command line is wrong
  3  the configuration, a component or a case is wrong; every mistake has been reported
  4  the run failed, or did not stop cleanly within its deadline
A second SIGINT or SIGTERM exits at once, with 130 or 143.";

/// The log filter of commands that run for long. The client library logs connections too, but `pelton_nats` already does.
const HOST_LOG: &str = "info,async_nats=warn";
/// The log filter of commands that answer on stdout and end.
const TOOL_LOG: &str = "warn";
/// The log filter of a suite. It calls a plugin ten thousand times, and the plugin's log lines would hide the report.
const SUITE_LOG: &str = "warn,plugin=off";

/// Drives sandboxed WebAssembly components with NATS JetStream.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// How the log on stderr is written
    #[arg(long, global = true, value_enum, default_value_t, env = "PELTON_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// The log filter: error, warn, info, debug or trace, or a list such as `info,pelton_nats=debug`; by default `run` and
    /// `dev` log info and above, the others warn and above, and `test` leaves out what a plugin logs
    #[arg(long, global = true, value_name = "FILTER", env = "PELTON_LOG")]
    pub(crate) log: Option<String>,
    /// The command
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The log filter.
    #[must_use]
    pub(crate) fn log(&self) -> &str {
        let default = match self.command {
            Command::Run(_) | Command::Dev(_) => HOST_LOG,
            Command::Test(_) => SUITE_LOG,
            _ => TOOL_LOG,
        };
        self.log.as_deref().unwrap_or(default)
    }
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a folder with new plugins, which builds, passes its tests and runs
    New(NewArgs),
    /// Build the components of the crates that the configuration names
    Build(BuildArgs),
    /// Check the configuration and its components; start nothing
    Check(CheckArgs),
    /// Test a component: the rules that every plugin keeps, and cases that say what it should do
    Test(TestArgs),
    /// Write the messages of an event stream to a file, with the commands that led to them, for `pelton test --replay`
    Record(RecordArgs),
    /// Check whether the verdict of `pelton test` beside a component allows it to run
    CanIActivate(CanIActivateArgs),
    /// Run against a NATS server
    Run(RunArgs),
    /// Run on this machine with a NATS server of its own
    Dev(DevArgs),
    /// Show how the NATS server differs from the configuration, and change it after a yes
    Apply(ApplyArgs),
    /// Show streams, dead letters, and the progress of handlers, views and sagas
    Status(StatusArgs),
    /// Show which hosts answer, which commands each gets, and which version of each plugin it runs
    Hosts(HostsArgs),
    /// Show what led to an event, a command or an entity's state, and which version of which plugin decided it
    Why(WhyArgs),
    /// Manage dead letters: messages that could not be processed, and those that wait behind them
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Manage the plugin store: push components, activate versions of plugins, roll back
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Manage the instances of sagas: show what each waits for and its commands, resume, skip, cancel
    #[command(subcommand)]
    Saga(SagaCommand),
    /// Print configuration for nats-server
    #[command(subcommand)]
    Nats(NatsCommand),
    /// Make a component of a core module
    Component(ComponentArgs),
    /// Compile a component from stdin to stdout. The host starts itself with this command.
    #[command(name = pelton_wasm::compiler::ARGUMENT, hide = true)]
    CompileComponent,
    /// Print a script that completes this command line in a shell
    Completions(CompletionsArgs),
    /// Print the man page
    Man,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn several_servers_make_one_cluster() {
        let arguments = ["pelton", "run", "--nats", "nats://a:1,nats://b:2", "--nats", "tls://c:3"];
        let Command::Run(run) = Arguments::try_parse_from(arguments).unwrap().command else {
            panic!("not a run")
        };
        assert_eq!(run.nats, ["nats://a:1", "nats://b:2", "tls://c:3"]);
        let error = Arguments::try_parse_from(["pelton", "run", "--nats", "localhost:4222"]).unwrap_err();
        assert!(error.to_string().contains("it has no scheme"), "{error}");
    }
}
