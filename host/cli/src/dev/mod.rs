//! `pelton dev`: a host on this machine with a NATS server of its own, which takes up plugins as they are saved.

mod swap;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use pelton_nats::server::Options;
use pelton_nats::topology::Apply;
use pelton_nats::{Server, TopologyError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::args::dev::DevArgs;
use crate::config::Config;
use crate::examples;
use crate::exit::Failure;
use crate::run::host;
use crate::run::prepare::{FromStore, Prepared, prepare_until};

/// A server that ends sooner than this counts as failed to start.
const QUICK: Duration = Duration::from_secs(10);
/// The most failed starts in a row.
const MAX_QUICK_ENDS: u32 = 5;

/// Runs a host on a server of its own.
pub(crate) async fn run(arguments: &DevArgs, stop: CancellationToken) -> Result<(), Failure> {
    let compiled = Some(arguments.store.join("compiled"));
    let Some(mut prepared) = prepare_until(&arguments.config, compiled, FromStore::AsFiles, &stop).await?
    else {
        return Ok(());
    };
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
    let url = server.url();
    let nats = &mut prepared.config.nats;
    (nats.urls, nats.credentials, nats.replicas) = (vec![url.clone()], None, 1);
    let store = arguments.store.display().to_string();
    let (hand_over, versions) = oneshot::channel();
    let ready = |address, versions| {
        show(&prepared.config, &url, &store, address);
        let _ = hand_over.send(versions);
    };
    let nats = tokio::select! {
        connected = host::connect(&prepared.config) => connected?,
        () = stop.cancelled() => return server.stop().await.context("the NATS server did not stop"),
    };
    let mut ran = Box::pin(host::run(&prepared, nats, Apply::Additive, stop.clone(), ready));
    let swapping = async {
        if let Ok(versions) = versions.await {
            swap::on_save(&arguments.config, &prepared, &versions).await;
        }
        std::future::pending().await
    };
    let ran = tokio::select! {
        never = swapping => never,
        ran = &mut ran => ran.map_err(|error| how_to_apply(error, &arguments.store)),
        why = keep_running(&mut server) => {
            stop.cancel();
            // Work that could not be finished without a server was logged, and comes again.
            let _ = ran.await;
            Err(why)
        }
    };
    let stopped = server.stop().await.context("the NATS server did not stop");
    ran.and(stopped)
}

/// Prints how to change a server that stops together with this command.
fn how_to_apply(error: anyhow::Error, store: &Path) -> anyhow::Error {
    match error.downcast_ref() {
        Some(TopologyError::Differs(_)) => {
            anyhow!("{error:#}\nhere, that is `pelton apply --dev --store {}`", store.display())
        }
        _ => error,
    }
}

/// Starts the server again whenever it ends: the host waits for it meanwhile, and loses nothing. Returns why that is of
/// no use any more.
async fn keep_running(server: &mut Server) -> anyhow::Error {
    let mut quick_ends = 0;
    loop {
        let began = Instant::now();
        let status = match server.ended().await {
            Ok(status) => status,
            Err(error) => return error.into(),
        };
        quick_ends = if began.elapsed() < QUICK { quick_ends + 1 } else { 1 };
        if quick_ends > MAX_QUICK_ENDS {
            return anyhow!("nats-server keeps ending, the last time with {status}");
        }
        tracing::error!("nats-server ended ({status}); starting it again");
        if let Err(error) = server.restart().await {
            return anyhow::Error::from(error).context("nats-server ended and cannot be started again");
        }
        tracing::info!("nats-server runs again at {}", server.url());
    }
}

/// Prints example requests to stdout.
fn show(config: &Config, nats: &str, store: &str, address: SocketAddr) {
    let mut lines =
        vec![format!("Pelton  http://{address}"), format!("NATS    {nats} (data in {store})"), String::new()];
    lines.extend(config.routes.iter().map(|route| examples::curl(config, route, &address.to_string())));
    lines.extend(config.projections.keys().map(|view| format!("curl {address}/views/{view}")));
    lines.push("\nCtrl-C stops both.\n".to_owned());
    // A closed stdout does not stop the host.
    let _ = std::io::stdout().write_all(lines.join("\n").as_bytes());
}
