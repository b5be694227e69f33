//! Arguments that several commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::check_nats_url;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; with colour on a terminal, unless `NO_COLOR` is set.
    #[default]
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// The configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file; paths in it are relative to it
    #[arg(long, short, value_name = "FILE", default_value = "pelton.toml", env = "PELTON_CONFIG")]
    pub(crate) config: PathBuf,
}

/// The operator of a change.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorArgs {
    /// The operator's name in the audit stream; without it, the user and the machine's name
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// The server that a command talks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The configuration. Its components are not loaded.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The NATS server, instead of the one that the configuration names; may be given several times for one cluster
    #[arg(long, value_name = "URL", env = "PELTON_NATS_URL", value_delimiter = ',', value_parser = nats_url)]
    pub(crate) nats: Vec<String>,
    /// The store of a `pelton dev`: while it runs, its server is asked instead of the configured one
    #[arg(long, value_name = "DIR", default_value = ".pelton")]
    pub(crate) store: PathBuf,
    /// Write JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A NATS URL as the configuration takes it.
pub(super) fn nats_url(text: &str) -> Result<String, String> {
    check_nats_url(text).map(|()| text.to_owned()).map_err(|wrong| format!("it {wrong}"))
}
