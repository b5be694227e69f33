//! `pelton run`, and what `pelton dev` shares with it: the life of a host.

#[cfg(debug_assertions)]
mod failpoints;
mod flows;
pub(crate) mod from_store;
pub(crate) mod host;
pub(crate) mod prepare;
pub(crate) mod signals;
mod tasks;
pub(crate) mod versions;

pub(crate) use flows::{commands, intake, is_replicated};
use pelton_nats::Topology;
use pelton_nats::topology::Apply;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::args::apply::ApplyAtStart;
use crate::args::run::RunArgs;
use crate::exit::Failure;
use from_store::Patience;
use prepare::{FromStore, Prepared};

/// Runs a host against the configured server.
pub(crate) async fn run(arguments: &RunArgs, stop: CancellationToken) -> Result<(), Failure> {
    let prepared = prepare::prepare_until(&arguments.config, None, FromStore::Later, &stop).await?;
    let Some(mut prepared) = prepared else { return Ok(()) };
    if !arguments.nats.is_empty() {
        prepared.config.nats.urls.clone_from(&arguments.nats);
    }
    prepared.config.gateway.listen = arguments.listen.unwrap_or(prepared.config.gateway.listen);
    let apply = match arguments.apply {
        Some(ApplyAtStart::Additive) => Apply::Additive,
        None => Apply::Nothing,
    };
    let connected = async {
        let nats = host::connect(&prepared.config).await.map_err(Failure::Run)?;
        let from_store = from_store::load(&mut prepared, &arguments.config, &nats, Patience::Endless).await?;
        Ok((nats, from_store))
    };
    let (nats, from_store) = tokio::select! {
        connected = connected => connected?,
        // Nothing has been started yet, so there is nothing to stop.
        () = stop.cancelled() => return Ok(()),
    };
    let (hand_over, versions) = oneshot::channel();
    let ready = |address, versions| {
        tracing::info!("ready: http://{address}");
        let _ = hand_over.send(versions);
    };
    let following = async {
        if let (Some(from_store), Ok(versions)) = (from_store, versions.await) {
            from_store.follow(&arguments.config, &prepared, &nats, &versions).await?;
        }
        std::future::pending().await
    };
    tokio::select! {
        ran = host::run(&prepared, nats.clone(), apply, stop, ready) => ran,
        never = following => never,
    }
    .map_err(Failure::Run)
}

/// The topology of a configuration.
pub(crate) fn topology(prepared: &Prepared) -> anyhow::Result<Topology> {
    Ok(flows::Flows::of(prepared)?.topology())
}
