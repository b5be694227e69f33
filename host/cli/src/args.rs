//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::check_nats_url;
use crate::dlq::args::DlqCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked, or it was stopped with SIGINT or SIGTERM and stopped cleanly
  2  the command line is wrong
  3  the configuration or a component is wrong; every mistake has been reported
  4  the run failed, or did not stop cleanly within its deadline
A second SIGINT or SIGTERM exits at once, with 130 or 143.";

/// Of what runs for long. The client library tells of connections too; `pelton_nats` says it in the host's words.
const HOST_LOG: &str = "info,async_nats=warn";
/// Of what answers and ends: it says what it has to say on stdout.
const TOOL_LOG: &str = "warn";

/// Drives sandboxed WebAssembly components with NATS JetStream.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    /// How the log on stderr is written
    #[arg(long, global = true, value_enum, default_value_t, env = "PELTON_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a list such as `info,pelton_nats=debug`; without it, info
    /// and above of `run` and `dev`, warn and above of the others
    #[arg(long, global = true, value_name = "FILTER", env = "PELTON_LOG")]
    pub log: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// What is logged.
    #[must_use]
    pub fn log(&self) -> &str {
        let default = match self.command {
            Command::Run(_) | Command::Dev(_) => HOST_LOG,
            Command::Check(_) | Command::Dlq(_) | Command::Component(_) => TOOL_LOG,
        };
        self.log.as_deref().unwrap_or(default)
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; with colour on a terminal, unless `NO_COLOR` is set.
    #[default]
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration and its components; start nothing
    Check(ConfigArgs),
    /// Run against a NATS server
    Run(RunArgs),
    /// Run on this machine with a NATS server of its own
    Dev(DevArgs),
    /// See to dead letters: what could not be processed, and what waits behind it
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Wrap a core module, as a compiler writes it, into a component
    Component(ComponentArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file; paths in it are relative to it
    #[arg(long, short, value_name = "FILE", default_value = "pelton.toml", env = "PELTON_CONFIG")]
    pub config: PathBuf,
}

/// `pelton run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The NATS server, instead of the one that the configuration names; may be given several times for one cluster
    #[arg(long, value_name = "URL", env = "PELTON_NATS_URL", value_delimiter = ',', value_parser = nats_url)]
    pub nats: Vec<String>,
    /// Address and port of the gateway, instead of those in the configuration; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "PELTON_LISTEN")]
    pub listen: Option<SocketAddr>,
}

/// `pelton dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Where the NATS server keeps its data
    #[arg(long, value_name = "DIR", default_value = ".pelton")]
    pub store: PathBuf,
    /// Address and port of the gateway, instead of those in the configuration; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "PELTON_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The port of the NATS server; without it, a free one
    #[arg(long, value_name = "PORT")]
    pub nats_port: Option<u16>,
}

/// `pelton component`
#[derive(Debug, Args)]
pub struct ComponentArgs {
    /// The core module; it carries the world that it was built against
    #[arg(value_name = "IN.wasm")]
    pub module: PathBuf,
    /// Where to write the component
    #[arg(short, long, value_name = "OUT.wasm")]
    pub output: PathBuf,
}

pub(crate) fn nats_url(text: &str) -> Result<String, String> {
    check_nats_url(text).map(|()| text.to_owned()).map_err(|wrong| format!("it {wrong}"))
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
