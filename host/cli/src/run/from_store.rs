//! Plugins from the plugin store: loads what their records say, and follows changes of the records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures::StreamExt;
use futures::future::select_all;
use futures::stream::FuturesUnordered;
use pelton_core::id::Name;
use pelton_nats::plugin_store::activation::{Activation, Cause, PluginVersion};
use pelton_nats::plugin_store::preparation::{Question, Questions, Readiness};
use pelton_nats::plugin_store::{Act, PluginStore, StoreError};
use pelton_nats::{Nats, Topology};
use pelton_wasm::{LoadedPlugin, PluginSettings};

use super::prepare::{Prepared, fits};
use super::versions::{OnTrial, Terms, Versions, Withdrawn};
use crate::args::common::ConfigArgs;
use crate::config::Config;
use crate::descriptors::Inspected;
use crate::exit::Failure;
use crate::gate;
use crate::operator;

/// The most versions of a plugin that are kept loaded, beside those that drain.
const MAX_READY: usize = 3;
/// The wait before a failed request to the store is repeated.
const PAUSE: Duration = Duration::from_secs(1);

/// The part of the topology that does not depend on plugins.
pub(crate) fn base_topology(config: &Config) -> Topology {
    Topology {
        storage: config.nats.storage,
        replicas: config.nats.replicas,
        duplicate_window: config.nats.duplicate_window,
        audit_retention: config.audit.keep,
        ack_wait: config.commands.ack_wait,
        ..Topology::default()
    }
}

/// Opens the plugin store, and creates it if there is none.
pub(crate) async fn open(config: &Config, nats: &Nats) -> anyhow::Result<PluginStore> {
    base_topology(config).ensure_plugin_store(nats).await?;
    Ok(PluginStore::open(nats, super::is_replicated(config)).await?)
}

/// A host's plugins from the store, with their records at loading.
pub(crate) struct FromTheStore {
    store: PluginStore,
    known: BTreeMap<Name, Activation>,
}

/// What to do while a plugin has no active version, or the store is unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Wait.
    Endless,
    /// Fail.
    None,
}

/// Loads the active version of every plugin from the store.
pub(crate) async fn load(
    prepared: &mut Prepared,
    arguments: &ConfigArgs,
    nats: &Nats,
    patience: Patience,
) -> Result<Option<FromTheStore>, Failure> {
    let wanted: Vec<Name> = prepared.config.store_plugins().map(|(name, _)| name.clone()).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let store = open(&prepared.config, nats).await.map_err(Failure::Run)?;
    let mut known = BTreeMap::new();
    for name in wanted {
        let activation = activated(&store, &name, patience).await.map_err(Failure::Run)?;
        let running = &prepared.plugins;
        let loaded = fetch_and_load(prepared, arguments, running, &store, (&name, &activation.runs)).await;
        let loaded = loaded.with_context(|| format!("the plugin {name} is to run {}", activation.runs));
        let plugin = loaded.map_err(Failure::Run)?;
        let withdrawn = withdrawn(&activation).map_err(Failure::Run)?;
        let on_trial = on_trial(prepared, arguments, &store, &activation, &plugin).await;
        let mut draining = Vec::new();
        for version in &activation.draining {
            let loaded = fetch_and_load(prepared, arguments, running, &store, (&name, version)).await;
            let needed = || format!("instances of a saga go on with {version} of the plugin {name}");
            draining.push(loaded.with_context(needed).map_err(Failure::Run)?);
        }
        prepared.terms.insert(name.to_string(), Terms { on_trial, withdrawn, draining });
        prepared.plugins.insert(name.to_string(), plugin);
        known.insert(name, activation);
    }
    Ok(Some(FromTheStore { store, known }))
}

/// A plugin's activation record. `patience` says whether to wait for the first one, and for the store.
async fn activated(store: &PluginStore, name: &Name, patience: Patience) -> anyhow::Result<Activation> {
    let nothing = || {
        format!(
            "nothing was activated for the plugin {name} yet; `pelton plugin push {name} FILE` and \
             `pelton plugin activate {name}` do that"
        )
    };
    let mut told = false;
    loop {
        match (store.active(name).await, patience) {
            (Ok(Some(activation)), _) => return Ok(activation),
            (Ok(None), Patience::None) => bail!(nothing()),
            (Ok(None), Patience::Endless) => {
                if !told {
                    tracing::warn!("waiting for the plugin {name}: {}", nothing());
                    told = true;
                }
            }
            (Err(StoreError::Unavailable(away)), Patience::Endless) => {
                tracing::warn!("waiting for the plugin store: {away}");
            }
            (Err(error), _) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn fetch_and_load(
    prepared: &Prepared,
    arguments: &ConfigArgs,
    running: &BTreeMap<String, LoadedPlugin>,
    store: &PluginStore,
    (name, version): (&Name, &PluginVersion),
) -> anyhow::Result<LoadedPlugin> {
    let bytes = store.fetch(&version.component).await?;
    prepared.load_version(arguments, running, name.as_str(), bytes, Some(settings(version)?)).await
}

/// The trial of a version, which began with its activation. None, if there is no version to go back to, or it cannot
/// run here.
async fn on_trial(
    prepared: &Prepared,
    arguments: &ConfigArgs,
    store: &PluginStore,
    activation: &Activation,
    plugin: &LoadedPlugin,
) -> Option<OnTrial> {
    let (name, before) = (&activation.plugin, version_before(activation)?);
    match fetch_and_load(prepared, arguments, &prepared.plugins, store, (name, before)).await {
        Ok(before) if before.digest() == plugin.digest() => None,
        Ok(before) => Some(OnTrial { trial: Arc::default(), before }),
        Err(why) => {
            tracing::warn!(plugin = %name, "{} runs without a version to go back to: {before} cannot run here: {why:#}", activation.runs);
            None
        }
    }
}

/// What decides in place of a newly activated version that breaks. A version that was gone back to has no trial.
fn version_before(activation: &Activation) -> Option<&PluginVersion> {
    match activation.cause {
        Cause::Activated => activation.rollback().ok(),
        Cause::RolledBack | Cause::Broke { .. } => None,
    }
}

/// A version's settings in the form that a component gets.
pub(crate) fn settings(version: &PluginVersion) -> anyhow::Result<PluginSettings> {
    let mut settings = PluginSettings::default();
    for (name, value) in &version.settings {
        settings.set(name, value).map_err(|why| anyhow!("a setting of {version} has {why}"))?;
    }
    Ok(settings)
}

/// The digests of the withdrawn versions.
fn withdrawn(activation: &Activation) -> anyhow::Result<Withdrawn> {
    let digest = |version: &PluginVersion| Ok(settings(version)?.with_digest(&version.component));
    activation.withdrawn.iter().map(digest).collect::<anyhow::Result<_>>().map(Arc::new)
}

impl FromTheStore {
    /// Prepares candidate versions and follows the records forever.
    pub(crate) async fn follow(
        self,
        arguments: &ConfigArgs,
        prepared: &Prepared,
        nats: &Nats,
        versions: &Arc<Versions>,
    ) -> anyhow::Result<()> {
        let Self { store, known } = self;
        let host = format!("{}:{}", operator::machine(), std::process::id());
        let mut questions = Questions::to(nats, host.clone()).await?;
        let revisions = known.iter().map(|(name, known)| (name.clone(), known.revision)).collect();
        let mut records = store.follow(revisions).await?;
        let ready = known.iter().filter_map(|(name, activation)| {
            let runs = prepared.plugins.get(name.as_str())?;
            let mut loaded = VecDeque::from([(activation.runs.clone(), runs.clone())]);
            let on_trial = prepared.terms.get(name.as_str()).and_then(|terms| terms.on_trial.as_ref());
            if let (Some(on_trial), Some(before)) = (on_trial, version_before(activation)) {
                loaded.push_back((before.clone(), on_trial.before.clone()));
            }
            let draining = prepared.terms.get(name.as_str()).map_or(&[][..], |terms| &terms.draining);
            loaded.extend(activation.draining.iter().cloned().zip(draining.iter().cloned()));
            Some((name.clone(), loaded))
        });
        let ready = ready.collect();
        let on_trial = known.into_iter().filter_map(|(name, activation)| {
            let on_trial = prepared.terms.get(name.as_str())?.on_trial.clone()?;
            Some((name, (activation, on_trial)))
        });
        let mut follower = Follower {
            arguments,
            prepared,
            store: Arc::new(store),
            versions,
            host,
            running: prepared.plugins.clone(),
            draining: prepared
                .terms
                .iter()
                .map(|(name, terms)| (name.clone(), terms.draining.clone()))
                .collect(),
            ready,
            unreached: BTreeMap::new(),
            on_trial: on_trial.collect(),
        };
        // One for each plugin that was taken back and is not activated again.
        let mut telling = FuturesUnordered::new();
        loop {
            tokio::select! {
                activation = records.next() => follower.switch(&activation).await,
                question = questions.next() => follower.prepare(&question).await,
                (plugin, fault) = follower.lost() => {
                    if let Some(taken_back) = follower.take_back(&plugin, fault) {
                        telling.push(taken_back.tell(follower.store.clone(), follower.host.clone()));
                    }
                }
                Some(()) = telling.next(), if !telling.is_empty() => {}
                () = tokio::time::sleep(PAUSE), if !follower.unreached.is_empty() => {
                    for (_, activation) in std::mem::take(&mut follower.unreached) {
                        follower.switch(&activation).await;
                    }
                }
            }
        }
    }
}

struct Follower<'a> {
    arguments: &'a ConfigArgs,
    prepared: &'a Prepared,
    store: Arc<PluginStore>,
    versions: &'a Arc<Versions>,
    /// This host's name.
    host: String,
    running: BTreeMap<String, LoadedPlugin>,
    /// The versions with which instances of sagas in other forms go on, by plugin.
    draining: BTreeMap<String, Vec<LoadedPlugin>>,
    /// The versions that were loaded last, the last one in front, by plugin: what runs, what a rollback needs, a candidate.
    ready: BTreeMap<Name, VecDeque<(PluginVersion, LoadedPlugin)>>,
    /// The switches that could not be made because the store did not answer.
    unreached: BTreeMap<Name, Activation>,
    on_trial: BTreeMap<Name, (Activation, OnTrial)>,
}

/// A version that this host has taken back.
struct TakenBack {
    activation: Activation,
    to: PluginVersion,
    fault: String,
}

impl TakenBack {
    /// Has all hosts go back.
    async fn tell(self, store: Arc<PluginStore>, host: String) {
        let Self { activation, to, fault } = self;
        let (name, cause) = (&activation.plugin, Cause::Broke { fault });
        loop {
            match store.switch(name, Some(&activation), to.clone(), cause.clone(), &host).await {
                Ok(Activation { revision, .. }) => {
                    let act = Act::Switched { to, cause, revision, gate: Vec::new() };
                    if let Err(error) = store.note(name, &host, act).await {
                        tracing::warn!(plugin = %name, "the history does not say that it was taken back: {error}");
                    }
                    return;
                }
                // Another host or an operator was first. This host follows.
                Err(StoreError::Switched { .. }) => return,
                Err(error) => tracing::warn!(plugin = %name, "other hosts run it still: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Follower<'_> {
    async fn prepare(&mut self, question: &Question) {
        let candidate = &question.candidate;
        let comes_from_the_store = |(name, _): (&Name, _)| *name == candidate.plugin;
        if !self.prepared.config.store_plugins().any(comes_from_the_store) {
            return;
        }
        question.answer(Readiness::Reached).await;
        let began = Instant::now();
        let loaded = self.loaded(&candidate.plugin, &candidate.version).await;
        let readiness = match loaded {
            Ok(plugin) => {
                let running = |name: &str| self.running.get(name).map(Inspected::of);
                let draining = |name: &str| {
                    self.draining
                        .get(name)
                        .map_or_else(Vec::new, |all| all.iter().map(Inspected::of).collect())
                };
                let candidate = gate::Candidate {
                    plugin: plugin.name(),
                    inspected: Inspected::of(&plugin),
                    present: running(plugin.name()),
                    one_way: candidate.version.one_way,
                };
                Readiness::Ready {
                    ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    gate: candidate.verdicts(&self.prepared.config, running, draining),
                }
            }
            Err(why) => Readiness::Refused { why: format!("{why:#}") },
        };
        question.answer(readiness).await;
    }

    async fn switch(&mut self, activation: &Activation) {
        let Activation { plugin: name, runs, by, revision, .. } = activation;
        let began = Instant::now();
        self.unreached.remove(name);
        match self.versions_of(activation).await {
            Ok((plugin, withdrawn, draining)) => {
                let on_trial = self.begin_trial(activation, &plugin);
                self.replace(name, plugin.clone(), Terms { on_trial, withdrawn, draining });
                tracing::info!(plugin = %name, digest = plugin.digest(), %revision, by, after = ?began.elapsed(), "switched");
            }
            Err(why) => {
                if let Some(StoreError::Unavailable(_)) = why.downcast_ref() {
                    self.unreached.insert(name.clone(), activation.clone());
                }
                let why = format!("it cannot run {runs}: {why:#}");
                tracing::error!(plugin = %name, %revision, "this host goes on with the version that it has: {why}");
                self.versions.note_unfit(name, Some(why));
            }
        }
    }

    /// The version that is to run, those that were taken back, and those that drain.
    async fn versions_of(
        &mut self,
        activation: &Activation,
    ) -> anyhow::Result<(LoadedPlugin, Withdrawn, Vec<LoadedPlugin>)> {
        let Activation { plugin, runs, draining: wanted, .. } = activation;
        let mut draining = Vec::new();
        for version in wanted {
            let loaded = self.loaded(plugin, version).await;
            draining
                .push(loaded.with_context(|| format!("instances of its saga need {version}, which drains"))?);
        }
        Ok((self.loaded(plugin, runs).await?, withdrawn(activation)?, draining))
    }

    /// Puts a newly activated version on trial, if a rollback is possible.
    fn begin_trial(&mut self, activation: &Activation, plugin: &LoadedPlugin) -> Option<OnTrial> {
        let name = &activation.plugin;
        self.on_trial.remove(name);
        let before = self.running.get(name.as_str()).filter(|before| before.digest() != plugin.digest())?;
        version_before(activation)?;
        let on_trial = OnTrial { trial: Arc::default(), before: before.clone() };
        self.on_trial.insert(name.clone(), (activation.clone(), on_trial.clone()));
        Some(on_trial)
    }

    fn replace(&mut self, name: &Name, plugin: LoadedPlugin, terms: Terms) {
        let kept: Vec<String> =
            self.versions.replace(&plugin, &terms).iter().map(ToString::to_string).collect();
        kept.iter().for_each(|kept| tracing::warn!(plugin = %name, "{kept}"));
        self.versions.note_unfit(name, (!kept.is_empty()).then(|| kept.join("; ")));
        self.running.insert(name.to_string(), plugin);
        self.draining.insert(name.to_string(), terms.draining);
    }

    /// The next version that failed its trial, and its fault.
    async fn lost(&self) -> (Name, String) {
        let trials = self
            .on_trial
            .iter()
            .map(|(name, (_, on_trial))| Box::pin(async { (name.clone(), on_trial.trial.lost().await) }));
        let trials: Vec<_> = trials.collect();
        match trials.is_empty() {
            true => std::future::pending().await,
            false => select_all(trials).await.0,
        }
    }

    /// Has this host go back to the version before.
    fn take_back(&mut self, name: &Name, fault: String) -> Option<TakenBack> {
        let (activation, OnTrial { before, .. }) = self.on_trial.remove(name)?;
        let to = activation.rollback().ok()?.clone();
        let broken = self.running.get(name.as_str()).cloned();
        let digest = broken.as_ref().map(|broken| broken.digest().to_owned());
        tracing::error!(plugin = %name, digest, "taken back, the version before runs again: {fault}");
        let mut withdrawn = withdrawn(&activation).unwrap_or_default();
        Arc::make_mut(&mut withdrawn).extend(digest);
        let draining = self.draining.remove(name.as_str()).unwrap_or_default();
        let draining = broken.into_iter().chain(draining).collect();
        self.replace(name, before, Terms { withdrawn, on_trial: None, draining });
        Some(TakenBack { activation, to, fault })
    }

    /// Fetches and compiles a version, unless it is ready.
    async fn loaded(&mut self, name: &Name, version: &PluginVersion) -> anyhow::Result<LoadedPlugin> {
        let mut ready = self.ready.remove(name).unwrap_or_default();
        let known =
            ready.iter().position(|(ready, _)| ready.is_same(version)).and_then(|at| ready.remove(at));
        let loaded = match known {
            Some((_, loaded)) => fits(self.arguments, &self.running, &loaded).map(|()| loaded),
            None => {
                let wanted = (name, version);
                fetch_and_load(self.prepared, self.arguments, &self.running, &self.store, wanted).await
            }
        };
        if let Ok(loaded) = &loaded {
            ready.push_front((version.clone(), loaded.clone()));
            ready.truncate(MAX_READY + self.draining.get(name.as_str()).map_or(0, Vec::len));
        }
        self.ready.insert(name.clone(), ready);
        loaded
    }
}
