//! `pelton dev`: a host on this machine with a NATS server of its own.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use pelton_nats::Server;
use pelton_nats::server::Options;
use tokio_util::sync::CancellationToken;

use crate::args::dev::DevArgs;
use crate::config::Config;
use crate::examples;
use crate::exit::Failure;
use crate::run::host;
use crate::run::prepare::{Prepared, prepare_until};

/// Runs a host on a server of its own.
pub(crate) async fn run(arguments: &DevArgs, stop: CancellationToken) -> Result<(), Failure> {
    let compiled = Some(arguments.store.join("compiled"));
    let Some(mut prepared) = prepare_until(&arguments.config, compiled, &stop).await? else { return Ok(()) };
    prepared.config.gateway.listen = arguments.listen.unwrap_or(prepared.config.gateway.listen);
    with_server(arguments, prepared, stop).await.map_err(Failure::Run)
}

/// Starts the server, runs the host on it, and stops it last. The configuration's NATS is not used.
async fn with_server(
    arguments: &DevArgs,
    mut prepared: Prepared,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let options = Options { port: arguments.nats_port.unwrap_or(0), ..Options::new(&arguments.store) };
    let mut server = tokio::select! {
        server = Server::start(options) => server?,
        () = stop.cancelled() => return Ok(()),
    };
    let nats = &mut prepared.config.nats;
    (nats.urls, nats.credentials, nats.replicas) = (vec![server.url()], None, 1);
    let shown =
        |address| show(&prepared.config, &server.url(), &arguments.store.display().to_string(), address);
    let ran = host::run(&prepared, stop, shown).await;
    let stopped = server.stop().await.context("the NATS server did not stop");
    ran.and(stopped)
}

/// What to try, on stdout.
fn show(config: &Config, nats: &str, store: &str, address: SocketAddr) {
    let mut lines =
        vec![format!("Pelton  http://{address}"), format!("NATS    {nats} (data in {store})"), String::new()];
    lines.extend(config.routes.iter().map(|route| examples::curl(config, route, &address.to_string())));
    lines.extend(config.projections.keys().map(|view| format!("curl {address}/views/{view}")));
    lines.push("\nCtrl-C stops both.\n".to_owned());
    // Where nobody reads it, the host runs all the same.
    let _ = std::io::stdout().write_all(lines.join("\n").as_bytes());
}
