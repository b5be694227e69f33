//! `pelton dev`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::common::ConfigArgs;

/// `pelton dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The folder in which the NATS server keeps its data
    #[arg(long, value_name = "DIR", default_value = ".pelton")]
    pub(crate) store: PathBuf,
    /// Address and port of the gateway, instead of those in the configuration; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "PELTON_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// The port of the NATS server; without it, a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) nats_port: Option<u16>,
}
