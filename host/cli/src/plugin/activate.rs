//! `pelton plugin activate` and `rollback`: hosts prepare, the gate checks, and one write switches all hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use pelton_core::id::Name;
use pelton_nats::hosts::{self, HostStatus};
use pelton_nats::plugin_store::activation::{Activation, Cause, PluginVersion};
use pelton_nats::plugin_store::preparation::{self, Candidate, Readiness};
use pelton_nats::plugin_store::{Act, Verdict};
use pelton_wasm::LoadedPlugin;
use tokio::time::Instant;

use super::client::{Client, sandbox};
use super::conformance;
use super::drain;
use super::rehearse::Rehearsal;
use super::standing::Standing;
use crate::args::common::ServerArgs;
use crate::args::plugin::{ActivateArgs, RollbackArgs};
use crate::config::PluginConfig;
use crate::exit::Failure;
use crate::operator;
use crate::run::from_store;
use crate::run::prepare::fits;
use crate::terminal::say;

/// Switches all hosts to another version.
pub(super) async fn activate(arguments: &ActivateArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let plugin = &arguments.plugin.plugin;
    let configured = client.configured(plugin)?;
    let component = client.find(plugin, arguments.plugin.version.as_deref()).await?;
    let version = Client::version(configured, &component, arguments.one_way);
    let mut now = client.active(plugin).await?;
    if let Some(now) = &mut now {
        if now.runs.is_same(&version) {
            say(&format!("{plugin} runs {version} already"));
            return Ok(());
        }
        drain::forget_ended(&client, plugin, now).await.map_err(Failure::Run)?;
    }
    let by = operator::name(arguments.operator.by.as_deref());
    let mut switch = Switch { client: &client, plugin, now: now.as_ref(), to: version, by: &by };
    let loaded = switch.load(&arguments.server).await.map_err(Failure::Unusable)?;
    switch.to.saga = loaded.saga().map(drain::form);
    let mut gate = vec![passed("imports", "allowed"), passed("contract", "fits the configuration")];
    let activation = configured.activation();
    gate.extend(conformance::step(
        configured.verdict,
        configured.not_tested,
        &component,
        &loaded,
        &activation,
    ));
    let old = match &now {
        Some(now) => switch.present(now).await,
        None => None,
    };
    let rehearsal = Rehearsal { client: &client, plugin, new: &loaded, old: old.as_ref() };
    gate.extend(rehearsal.verdicts().await.map_err(Failure::Run)?);
    let ready = switch.prepare(arguments.hosts.wait).await.map_err(Failure::Run)?;
    gate.extend(ready.gate.iter().cloned());
    switch.report(&ready, &gate);
    let needed = arguments.hosts.min_ready.unwrap_or(ready.hosts.len());
    let refused = match gate.iter().find(|verdict| !verdict.passed) {
        Some(failed) => Some(format!("{}: {}", failed.step, failed.found)),
        None => (ready.count() < needed).then(|| {
            format!("{} of {} hosts are ready, and {needed} have to be", ready.count(), ready.hosts.len())
        }),
    };
    if let Some(why) = refused {
        let act = Act::Refused { version: switch.to.clone(), gate };
        client.store.note(plugin, &by, act).await.map_err(|error| Failure::Run(error.into()))?;
        return Err(Failure::Run(anyhow!("{plugin} was not switched: {why}")));
    }
    if arguments.dry_run {
        say("nothing was switched");
        return Ok(());
    }
    let switched = switch.make(Cause::Activated, gate).await?;
    let needed = arguments.hosts.min_ready;
    switch.wait(&switched, loaded.digest(), needed, arguments.hosts.wait).await.map_err(Failure::Run)?;
    if switched.rollback().is_ok() {
        switch.line("undo", &format!("pelton plugin rollback {plugin}"));
    }
    Ok(())
}

/// Switches all hosts back to the previous version.
pub(super) async fn rollback(arguments: &RollbackArgs) -> Result<(), Failure> {
    let client = Client::open(&arguments.server).await?;
    let plugin = &arguments.plugin;
    client.configured(plugin)?;
    let nothing = || Failure::Run(anyhow!("nothing was activated for the plugin {plugin} yet"));
    let now = client.active(plugin).await?.ok_or_else(nothing)?;
    let to = now.rollback().map_err(|why| Failure::Run(anyhow!(why)))?.clone();
    let by = operator::name(arguments.operator.by.as_deref());
    let switch = Switch { client: &client, plugin, now: Some(&now), to, by: &by };
    if arguments.dry_run {
        say(&format!("{plugin} would run {} again, instead of {}", switch.to, now.runs));
        return Ok(());
    }
    // The version ran here before, so no question is asked: a rollback is urgent.
    let digest = switch.load(&arguments.server).await.map(|loaded| loaded.digest().to_owned());
    let switched = switch.make(Cause::RolledBack, Vec::new()).await?;
    let digest = digest.map_err(Failure::Run)?;
    switch.wait(&switched, &digest, None, arguments.wait).await.map_err(Failure::Run)?;
    let standing = Standing::of(&client, plugin, &now).await.map_err(Failure::Run)?;
    if let Some(text) = standing.text() {
        switch.line("stands", &text);
    }
    Ok(())
}

fn passed(step: &str, found: &str) -> Verdict {
    Verdict { step: step.to_owned(), passed: true, found: found.to_owned() }
}

/// A switch of one plugin from its present version to another.
struct Switch<'a> {
    client: &'a Client,
    plugin: &'a Name,
    now: Option<&'a Activation>,
    to: PluginVersion,
    by: &'a str,
}

/// The answers of the hosts to the request to prepare.
struct Ready {
    hosts: BTreeMap<String, Readiness>,
    /// The distinct findings of the hosts.
    gate: Vec<Verdict>,
}

impl Ready {
    fn count(&self) -> usize {
        self.hosts.values().filter(|readiness| matches!(readiness, Readiness::Ready { .. })).count()
    }
}

impl Switch<'_> {
    async fn fetched(&self, version: &PluginVersion) -> anyhow::Result<LoadedPlugin> {
        let bytes = self.client.store.fetch(&version.component).await?;
        let sandbox = sandbox(&self.client.config)?;
        let configured = self.client.config.plugins.get(self.plugin).map(PluginConfig::activation);
        let settings = from_store::settings(version)?;
        let with = pelton_wasm::Activation { settings, ..configured.unwrap_or_default() };
        Ok(sandbox.load(self.plugin.as_str(), bytes, with).await?)
    }

    /// The version that runs. One that cannot be loaded here any more is compared with nothing.
    async fn present(&self, now: &Activation) -> Option<LoadedPlugin> {
        self.fetched(&now.runs)
            .await
            .inspect_err(|why| tracing::warn!("{} is not compared with {}: {why:#}", self.to, now.runs))
            .ok()
    }

    /// Loads the version here, as a host would.
    async fn load(&self, server: &ServerArgs) -> anyhow::Result<LoadedPlugin> {
        let loaded = self.fetched(&self.to).await?;
        fits(&server.config, &BTreeMap::new(), &loaded)?;
        Ok(loaded)
    }

    async fn prepare(&self, patience: Duration) -> anyhow::Result<Ready> {
        let candidate = Candidate { plugin: self.plugin.clone(), version: self.to.clone() };
        let hosts = preparation::ask(&self.client.nats, &candidate, patience).await?;
        let mut gate: Vec<Verdict> = Vec::new();
        for readiness in hosts.values() {
            let Readiness::Ready { gate: found, .. } = readiness else { continue };
            for verdict in found {
                if !gate.contains(verdict) {
                    gate.push(verdict.clone());
                }
            }
        }
        Ok(Ready { hosts, gate })
    }

    async fn make(&self, cause: Cause, gate: Vec<Verdict>) -> Result<Activation, Failure> {
        let Self { client, plugin, now, to, by } = self;
        let switched = client.store.switch(plugin, *now, to.clone(), cause.clone(), by).await;
        let switched = switched.map_err(|error| Failure::Run(error.into()))?;
        let act = Act::Switched { to: to.clone(), cause, revision: switched.revision, gate };
        if let Err(error) = client.store.note(plugin, by, act).await {
            tracing::warn!("it was switched, but that is not in the history: {error}");
        }
        Ok(switched)
    }

    /// The hosts that run the plugin.
    async fn hosts(&self) -> anyhow::Result<Vec<HostStatus>> {
        let uses = self.uses();
        let hosts = hosts::ask(&self.client.nats).await?;
        Ok(hosts
            .into_iter()
            .filter(|host| uses.iter().any(|name| host.plugins.contains_key(*name)))
            .collect())
    }

    /// The handlers, projections and sagas that run the plugin.
    fn uses(&self) -> Vec<&str> {
        let config = &self.client.config;
        let handlers = config.handlers.iter().map(|(name, handler)| (name, &handler.plugin));
        let projections = config.projections.iter().map(|(name, projection)| (name, &projection.plugin));
        let sagas = config.sagas.iter().map(|(name, saga)| (name, &saga.plugin));
        let all = handlers.chain(projections).chain(sagas);
        all.filter(|(_, plugin)| *plugin == self.plugin).map(|(name, _)| name.as_str()).collect()
    }

    /// Waits until so many hosts say that they run it; without a number, all that run the plugin.
    async fn wait(
        &self,
        switched: &Activation,
        digest: &str,
        needed: Option<usize>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            let uses = self.uses();
            let runs_it = |host: &&HostStatus| {
                host.plugins
                    .iter()
                    .filter(|(name, _)| uses.contains(&name.as_str()))
                    .all(|(_, runs)| runs == digest)
            };
            let hosts = self.hosts().await?;
            let running = hosts.iter().filter(runs_it).count();
            if running >= needed.unwrap_or(hosts.len()) {
                let Activation { revision, runs, .. } = switched;
                let what = format!("revision {revision}: {running} of {} hosts run {runs}", hosts.len());
                self.line("switch", &what);
                return Ok(());
            }
            if Instant::now() > until {
                let late: Vec<String> = hosts
                    .iter()
                    .filter(|host| !runs_it(host))
                    .map(|host| format!("{}:{} {}", host.machine, host.process, host.unfit.join("; ")))
                    .collect();
                return Err(anyhow!(
                    "{} was switched to {} (revision {}), but {running} of {} hosts run it: {}",
                    self.plugin,
                    switched.runs,
                    switched.revision,
                    hosts.len(),
                    late.join(", ")
                ));
            }
        }
    }

    fn report(&self, ready: &Ready, gate: &[Verdict]) {
        let hosts: Vec<String> = ready
            .hosts
            .iter()
            .map(|(host, readiness)| match readiness {
                Readiness::Ready { ms, .. } => format!("{host} ok {ms} ms"),
                Readiness::Refused { why } => format!("{host} refuses: {why}"),
                Readiness::Reached => format!("{host} is not ready yet"),
            })
            .collect();
        let hosts = if hosts.is_empty() { "no host runs".to_owned() } else { hosts.join(", ") };
        self.line("prepare", &hosts);
        let steps: Vec<String> = gate
            .iter()
            .map(|Verdict { step, passed, found }| match passed {
                true => format!("{step} ok ({found})"),
                false => format!("{step} FAILED: {found}"),
            })
            .collect();
        self.line("gate", &steps.join("; "));
    }

    fn line(&self, what: &str, text: &str) {
        if self.client.json {
            say(&serde_json::json!({ what: text }).to_string());
        } else {
            say(&format!("{what:<8} {}", crate::terminal::escaped(text)));
        }
    }
}
