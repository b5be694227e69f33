//! The life of a host: connect, ensure the topology, start flows and gateway, wait, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use pelton_core::intake::Intake;
use pelton_gateway::{Gateway, PluginState, Routes};
use pelton_nats::topology::Apply;
use pelton_nats::{BucketReader, ConnectSettings, Credentials, Nats, StreamIngress, Topology, TopologyError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::flows::{Flows, Running};
use super::prepare::Prepared;
use super::tasks::Tasks;
use super::versions::Versions;
use crate::config::Config;

/// The wait before an unanswered request is repeated.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled or something breaks. `ready` is told where the gateway listens, and may give plugins
/// other versions.
///
/// # Errors
///
/// Nothing was started, something that should run for ever has ended, or the stop was not clean: the error says what.
pub(crate) async fn run(
    prepared: &Prepared,
    nats: Nats,
    apply: Apply,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr, Arc<Versions>),
) -> anyhow::Result<()> {
    let (config, flows) = (&prepared.config, Flows::of(prepared)?);
    let started = tokio::select! {
        started = start(config, nats, flows, apply) => started?,
        // Nothing has been fetched yet, so there is nothing to finish.
        () = stop.cancelled() => return Ok(()),
    };
    ready(started.address, started.versions.clone());
    started.serve(config.shutdown.deadline, stop).await
}

/// A started host.
struct Started {
    nats: Nats,
    ingress: Arc<StreamIngress>,
    address: SocketAddr,
    /// Stops the gateway from accepting requests.
    close: CancellationToken,
    gateway: Tasks,
    flows: Running,
    versions: Arc<Versions>,
}

async fn start(config: &Config, nats: Nats, flows: Flows<'_>, apply: Apply) -> anyhow::Result<Started> {
    ensure(&flows.topology(), &nats, apply).await?;
    let listener = TcpListener::bind(config.gateway.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.gateway.listen))?;
    let address = listener.local_addr().context("the gateway has no address")?;

    let intake = super::intake(config);
    let ingress = Arc::new(StreamIngress::open(&nats, super::commands(config, &nats, &intake)).await?);
    let views = Arc::new(BucketReader::new(&nats, flows.buckets()));
    let versions = Versions::default();
    let plugins = PluginState { unfit: versions.unfit(), unserved: versions.unserved() };
    let gateway = gateway(config, intake.clone(), ingress.clone(), views, plugins)?;

    let close = CancellationToken::new();
    let mut running = flows.start(&nats, &intake, versions).await?;
    let versions = running.answer(&nats, address);
    let mut serving = Tasks::default();
    let (closed, deadline) = (close.clone().cancelled_owned(), config.shutdown.deadline);
    serving.spawn("the gateway", async move {
        // What is cut off is counted and logged there.
        let _cut = gateway.serve(listener, closed, deadline).await;
    });
    Ok(Started { nats, ingress, address, close, gateway: serving, flows: running, versions })
}

/// Connects to NATS. Waits for an unreachable server as long as the configuration says.
pub(crate) async fn connect(config: &Config) -> anyhow::Result<Nats> {
    Ok(Nats::connect(&connection(config)).await?)
}

/// The connection settings.
pub(crate) fn connection(config: &Config) -> ConnectSettings {
    let credentials = config.nats.credentials.clone().map_or(Credentials::None, Credentials::File);
    ConnectSettings {
        urls: config.nats.urls.clone(),
        name: "pelton".to_owned(),
        credentials,
        request_timeout: config.nats.request_timeout,
        start_deadline: config.nats.connect_timeout,
    }
}

/// Ensures the topology. Waits for an unreachable server.
async fn ensure(topology: &Topology, nats: &Nats, apply: Apply) -> anyhow::Result<()> {
    loop {
        match topology.ensure_with(nats, apply).await {
            Ok(()) => return Ok(()),
            Err(TopologyError::Unavailable(away)) => tracing::warn!("waiting for JetStream: {away}"),
            Err(unusable @ (TopologyError::Differs(_) | TopologyError::NoJetStream { .. })) => {
                bail!(unusable)
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn gateway(
    config: &Config,
    intake: Arc<Intake>,
    ingress: Arc<StreamIngress>,
    views: Arc<BucketReader>,
    plugins: PluginState,
) -> anyhow::Result<Gateway> {
    let routes = config.routes.iter().map(|configured| configured.route.clone()).collect();
    let routes = Routes::new(routes, config.projections.keys().cloned()).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!("the routes cannot be served: {}", errors.join("; "))
    })?;
    Ok(Gateway::new(config.gateway.http.clone(), routes, intake, ingress, views, plugins))
}

impl Started {
    /// Waits for the end, then stops. Requests stop first, because they wait for the flows.
    async fn serve(mut self, deadline: Duration, stop: CancellationToken) -> anyhow::Result<()> {
        let broke = tokio::select! {
            () = stop.cancelled() => None,
            ended = self.flows.tasks.first_end() => Some(ended),
            ended = self.gateway.first_end() => Some(ended),
            why = self.nats.ended() => Some(why),
        };
        if let Some(broke) = &broke {
            tracing::error!("{broke}: stopping");
        }
        let began = Instant::now();
        let left = self.stop(began + deadline, deadline / 2).await;
        match (broke, left.as_slice()) {
            (None, []) => {
                tracing::info!(after = ?began.elapsed(), "stopped");
                Ok(())
            }
            (None, left) => bail!("not everything was finished: {}", left.join("; ")),
            (Some(broke), []) => bail!(broke),
            (Some(broke), left) => bail!("{broke}; and not everything was finished: {}", left.join("; ")),
        }
    }

    /// Stops everything by the deadline. Returns what was not finished.
    async fn stop(self, deadline: Instant, patience: Duration) -> Vec<String> {
        let Self { nats, ingress, close, gateway, flows, .. } = self;
        close.cancel();
        // Requests that still wait by then are told that their commands go on, which is true: they are stored.
        let told = async {
            tokio::time::sleep(patience).await;
            ingress.close().await;
            std::future::pending().await
        };
        let mut left = tokio::select! {
            left = gateway.finish(deadline) => left,
            never = told => never,
        };
        left.extend(flows.finish(deadline).await);
        ingress.close().await;
        let remaining = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
        match tokio::time::timeout(remaining, nats.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(away)) => left.push(format!("acknowledgements may be lost, and come again: {away}")),
            Err(_) => {
                left.push("acknowledgements may be lost, and come again: NATS did not answer".to_owned());
            }
        }
        left
    }
}
