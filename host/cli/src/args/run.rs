//! `pelton run`

use std::net::SocketAddr;

use clap::Args;

use super::apply::ApplyAtStart;
use super::common::{ConfigArgs, nats_url};

/// `pelton run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The NATS server, instead of the one that the configuration names; may be given several times for one cluster
    #[arg(long, value_name = "URL", env = "PELTON_NATS_URL", value_delimiter = ',', value_parser = nats_url)]
    pub(crate) nats: Vec<String>,
    /// Address and port of the gateway, instead of those in the configuration; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "PELTON_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Change existing streams and consumers of the server if the configuration only adds to them; without this option the
    /// host does not start where they differ
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) apply: Option<ApplyAtStart>,
}
