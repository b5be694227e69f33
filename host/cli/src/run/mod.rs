//! `pelton run`, and what `pelton dev` shares with it: the life of a host.

#[cfg(debug_assertions)]
mod failpoints;
mod flows;
pub(crate) mod host;
pub(crate) mod prepare;
pub(crate) mod signals;
mod tasks;
pub(crate) mod versions;

pub(crate) use flows::{commands, intake, is_replicated};
use pelton_nats::Topology;
use pelton_nats::topology::Apply;
use tokio_util::sync::CancellationToken;

use crate::args::apply::ApplyAtStart;
use crate::args::run::RunArgs;
use crate::exit::Failure;
use prepare::Prepared;

/// Runs a host against the configured server.
pub(crate) async fn run(arguments: &RunArgs, stop: CancellationToken) -> Result<(), Failure> {
    let Some(mut prepared) = prepare::prepare_until(&arguments.config, None, &stop).await? else {
        return Ok(());
    };
    if !arguments.nats.is_empty() {
        prepared.config.nats.urls.clone_from(&arguments.nats);
    }
    prepared.config.gateway.listen = arguments.listen.unwrap_or(prepared.config.gateway.listen);
    let apply = match arguments.apply {
        Some(ApplyAtStart::Additive) => Apply::Additive,
        None => Apply::Nothing,
    };
    let ready = |address, _| tracing::info!("ready: http://{address}");
    host::run(&prepared, apply, stop, ready).await.map_err(Failure::Run)
}

/// What the flows of a configuration need on the server.
pub(crate) fn topology(prepared: &Prepared) -> anyhow::Result<Topology> {
    Ok(flows::Flows::of(&prepared.config, &prepared.plugins)?.topology())
}
