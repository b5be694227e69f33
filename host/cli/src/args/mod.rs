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

/// Of what runs for long. The client library tells of connections too; `pelton_nats` says it in the host's words.
const HOST_LOG: &str = "info,async_nats=warn";
/// Of what answers and ends: it says what it has to say on stdout.
const TOOL_LOG: &str = "warn";
/// Of a suite, which calls a plugin ten thousand times: what the plugin logs would hide the report.
const SUITE_LOG: &str = "warn,plugin=off";

/// Drives sandboxed WebAssembly components with NATS JetStream.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// How the log on stderr is written
    #[arg(long, global = true, value_enum, default_value_t, env = "PELTON_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a list such as `info,pelton_nats=debug`; without it, info
    /// and above of `run` and `dev`, warn and above of the others, and nothing that a plugin logs in `test`
    #[arg(long, global = true, value_name = "FILTER", env = "PELTON_LOG")]
    pub(crate) log: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// What is logged.
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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a folder with plugins of your own, which builds, passes its tests and runs
    New(NewArgs),
    /// Build the components of the crates that the configuration names
    Build(BuildArgs),
    /// Check the configuration and its components; start nothing
    Check(CheckArgs),
    /// Test a component: the rules that every plugin keeps, and cases that say what it should do
    Test(TestArgs),
    /// Write the messages of an event stream to a file, with the commands that led to them, for `pelton test --replay`
    Record(RecordArgs),
    /// Say whether the verdict that `pelton test` has left beside a component allows it to run
    CanIActivate(CanIActivateArgs),
    /// Run against a NATS server
    Run(RunArgs),
    /// Run on this machine with a NATS server of its own
    Dev(DevArgs),
    /// Show what has to be changed on the NATS server to match the configuration, and change it after a yes
    Apply(ApplyArgs),
    /// Show what the NATS server holds, how far handlers, views and sagas are, and dead letters
    Status(StatusArgs),
    /// Show which hosts answer, which commands each gets, and which version of each plugin it runs
    Hosts(HostsArgs),
    /// Say what led to an event, a command or an entity's state, and which version of which plugin decided it
    Why(WhyArgs),
    /// See to dead letters: what could not be processed, and what waits behind it
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// See to the plugin store: push components, say which version a plugin runs, go back to the one before
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// See to the instances of sagas: what each waits for, and what has become of its commands
    #[command(subcommand)]
    Saga(SagaCommand),
    /// Print what a NATS server has to be told about Pelton
    #[command(subcommand)]
    Nats(NatsCommand),
    /// Wrap a core module, as a compiler writes it, into a component
    Component(ComponentArgs),
    /// Compile a component from stdin to stdout: the host starts itself so
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
