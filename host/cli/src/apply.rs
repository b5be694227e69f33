//! `pelton apply`: shows the changes that the server needs, then makes them.

use std::io::Write;

use anyhow::{Context, anyhow};
use pelton_nats::server::{self, Options};
use pelton_nats::topology::{Change, Plan};
use pelton_nats::{Nats, Server, Topology};

use crate::args::apply::ApplyArgs;
use crate::exit::Failure;
use crate::run;
use crate::run::from_store::{self, Patience};
use crate::run::prepare::{FromStore, prepare};
use crate::server::reach;
use crate::terminal::escaped;

/// Shows the plan, asks, and carries it out.
pub(crate) async fn run(arguments: &ApplyArgs) -> Result<(), Failure> {
    let store = &arguments.server.store;
    let mut prepared = prepare(&arguments.server.config, None, FromStore::Later).await?;
    prepared.warn();
    let mut started = match arguments.dev && server::running(store).await.is_none() {
        true => Some(Server::start(Options::new(store)).await.map_err(|e| Failure::Run(e.into()))?),
        false => None,
    };
    let nats = reach(&mut prepared.config, &arguments.server.nats, store).await?;
    from_store::load(&mut prepared, &arguments.server.config, &nats, Patience::None).await?;
    let topology = run::topology(&prepared).map_err(Failure::Run)?;
    let done = apply(arguments, &topology, &nats).await;
    nats.close().await.map_err(|away| Failure::Run(away.into()))?;
    if let Some(server) = &mut started {
        server.stop().await.context("the NATS server did not stop").map_err(Failure::Run)?;
    }
    done
}

async fn apply(arguments: &ApplyArgs, topology: &Topology, nats: &Nats) -> Result<(), Failure> {
    let plan = topology.plan(nats).await.map_err(|e| Failure::Run(e.into()))?;
    let changes: Vec<Change> = plan.changes().cloned().collect();
    write(&match arguments.server.json {
        true => json(&changes),
        false => describe(&changes),
    });
    if changes.is_empty() {
        return Ok(());
    }
    let impossible = plan.impossible().count();
    if impossible > 0 {
        let what = anyhow!("the server cannot make {impossible} of these changes, so nothing was changed");
        return Err(Failure::Run(what));
    }
    if !arguments.yes && !confirmed(changes.len()).await {
        return Err(Failure::Run(anyhow!("nothing was changed: answer `y`, or use --yes")));
    }
    carry_out(topology, nats, &changes).await.map_err(Failure::Run)?;
    write("the server is as the configuration wants it\n");
    Ok(())
}

/// Carries out the shown changes. Changes nothing if the server has changed since they were shown.
async fn carry_out(topology: &Topology, nats: &Nats, shown: &[Change]) -> anyhow::Result<()> {
    let plan: Plan = topology.plan(nats).await?;
    anyhow::ensure!(
        plan.changes().eq(shown),
        "the server has changed meanwhile, so nothing was changed; run `pelton apply` again"
    );
    plan.carry_out(nats).await.context("not all changes were made; run `pelton apply` again after this")
}

async fn confirmed(changes: usize) -> bool {
    let _ = write!(std::io::stderr(), "make {changes} changes? [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    matches!(answer.await, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The changes for people: by object, each with its meaning below it.
pub(crate) fn describe(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "the server is as the configuration wants it\n".to_owned();
    }
    let mut lines = Vec::new();
    let mut last = "";
    for Change { object, what, meaning, .. } in changes {
        if object != last {
            lines.push(object.clone());
        }
        lines.extend([format!("  {what}"), format!("    {meaning}")]);
        last = object;
    }
    // Names and settings on the server are foreign text.
    escaped(&lines.join("\n")) + "\n"
}

fn json(changes: &[Change]) -> String {
    changes.iter().map(|change| serde_json::json!(change).to_string() + "\n").collect()
}

/// A closed stdout is not an error: the output may be piped into `head`.
fn write(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
