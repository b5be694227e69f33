//! The running versions of plugins, each of which can be replaced while the host works.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use pelton_core::command::ports::{HandlerPlugin, Isolation};
use pelton_core::command::trial::HandlerVersion;
use pelton_core::id::{CommandType, Name};
use pelton_core::plugin::Plugin;
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::drain::SagaVersions;
use pelton_core::saga::ports::SagaPlugin;
use pelton_core::trial::{self, Trial, Version};
use pelton_wasm::{LoadedPlugin, WasmHandler, WasmProjection, WasmSaga};
use tokio::sync::watch;

/// The version of every handler, projection and saga of a host.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    running: Vec<Running>,
    /// The plugins that should run another version, each with the reason why they do not.
    unfit: watch::Sender<BTreeMap<Name, String>>,
    /// The commands of handlers that their running versions do not take.
    unserved: watch::Sender<BTreeSet<CommandType>>,
}

/// The version of one handler, projection or saga.
#[derive(Debug)]
struct Running {
    /// The plugin's name in the configuration.
    plugin: Name,
    /// The name of the handler, projection or saga.
    name: Name,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Handler(watch::Sender<HandlerVersion<WasmHandler>>, HandlerTerms),
    Projection(watch::Sender<Version<WasmProjection>>),
    Saga(watch::Sender<SagaVersions<WasmSaga>>),
}

/// What the configuration says of a handler's versions.
#[derive(Debug)]
pub(super) struct HandlerTerms {
    pub(super) isolation: Isolation,
    pub(super) commands: Vec<CommandType>,
}

/// The digests of versions that were taken back.
pub(crate) type Withdrawn = Arc<BTreeSet<String>>;

/// The terms under which a version runs; see [`HandlerVersion`] and [`Version`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pub(crate) on_trial: Option<OnTrial>,
    pub(crate) withdrawn: Withdrawn,
    /// Versions with which a saga's instances in other forms go on, those that count first in front.
    pub(crate) draining: Vec<LoadedPlugin>,
}

/// The trial of a version.
#[derive(Debug, Clone)]
pub(crate) struct OnTrial {
    pub(crate) trial: Arc<Trial>,
    /// The version before, which does what this one breaks.
    pub(crate) before: LoadedPlugin,
}

impl Terms {
    fn of_handler(&self, plugin: WasmHandler) -> HandlerVersion<WasmHandler> {
        let trial = self.on_trial.as_ref().map(|on_trial| on_trial.trial.clone());
        HandlerVersion { plugin, trial, withdrawn: self.withdrawn.clone() }
    }

    fn of_projection(&self, plugin: WasmProjection) -> Version<WasmProjection> {
        let version = plugin.descriptor().view_version;
        let is_same = |before: &WasmProjection| before.descriptor().view_version == version;
        Version { on_trial: self.on_trial(|before| before.projection().cloned().filter(is_same)), plugin }
    }

    /// A version before with another form of state cannot go on where this one breaks.
    fn of_saga(&self, plugin: WasmSaga) -> SagaVersions<WasmSaga> {
        let version = plugin.descriptor().state_version;
        let is_same = |other: &WasmSaga| other.descriptor().state_version == version;
        let draining = self.draining.iter().filter_map(LoadedPlugin::saga).filter(|other| !is_same(other));
        let draining = draining.cloned().collect();
        let on_trial = self.on_trial(|before| before.saga().cloned().filter(is_same));
        SagaVersions { runs: Version { on_trial, plugin }, draining }
    }

    /// Whether instances whose state is of this version go on with one that drains.
    fn drains(&self, state_version: u32) -> bool {
        let mut draining = self.draining.iter().filter_map(LoadedPlugin::saga);
        draining.any(|saga| saga.descriptor().state_version == state_version)
    }

    fn on_trial<P>(&self, before: impl FnOnce(&LoadedPlugin) -> Option<P>) -> Option<trial::OnTrial<P>> {
        let on_trial = self.on_trial.as_ref()?;
        Some(trial::OnTrial { trial: on_trial.trial.clone(), before: before(&on_trial.before)? })
    }
}

/// A handler, projection or saga that keeps its present version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The handler, projection or saga.
    what: String,
    why: String,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} goes on with the version that it has: {}", self.what, self.why)
    }
}

impl Versions {
    pub(super) fn handler(
        &mut self,
        name: &Name,
        plugin: &Name,
        runs: WasmHandler,
        terms: &Terms,
        handler: HandlerTerms,
    ) -> watch::Receiver<HandlerVersion<WasmHandler>> {
        let (version, versions) = watch::channel(terms.of_handler(isolated(runs, handler.isolation)));
        self.add(name, plugin, Role::Handler(version, handler));
        self.note_unserved();
        versions
    }

    pub(super) fn projection(
        &mut self,
        name: &Name,
        plugin: &Name,
        runs: WasmProjection,
        terms: &Terms,
    ) -> watch::Receiver<Version<WasmProjection>> {
        let (version, versions) = watch::channel(terms.of_projection(runs));
        self.add(name, plugin, Role::Projection(version));
        versions
    }

    pub(super) fn saga(
        &mut self,
        name: &Name,
        plugin: &Name,
        runs: WasmSaga,
        terms: &Terms,
    ) -> watch::Receiver<SagaVersions<WasmSaga>> {
        let (version, versions) = watch::channel(terms.of_saga(runs));
        self.add(name, plugin, Role::Saga(version));
        versions
    }

    fn add(&mut self, name: &Name, plugin: &Name, role: Role) {
        self.running.push(Running { plugin: plugin.clone(), name: name.clone(), role });
    }

    /// The running digests by handler, projection and saga.
    pub(crate) fn digests(&self) -> BTreeMap<String, String> {
        self.running.iter().map(|version| (version.name.to_string(), version.digest())).collect()
    }

    /// Records why a plugin does not run the version that it should. `None`: it does.
    pub(crate) fn note_unfit(&self, plugin: &Name, why: Option<String>) {
        self.unfit.send_modify(|unfit| match why {
            Some(why) => drop(unfit.insert(plugin.clone(), why)),
            None => drop(unfit.remove(plugin)),
        });
    }

    /// A watch of the plugins that should run another version, and why they do not.
    pub(crate) fn unfit(&self) -> watch::Receiver<BTreeMap<Name, String>> {
        self.unfit.subscribe()
    }

    /// A watch of the commands that no running version takes yet.
    pub(crate) fn unserved(&self) -> watch::Receiver<BTreeSet<CommandType>> {
        self.unserved.subscribe()
    }

    fn note_unserved(&self) {
        self.unserved.send_replace(self.running.iter().flat_map(Running::unserved).collect());
    }

    /// Gives everything that runs the plugin of this name this version of it, whose descriptors fit the configuration.
    /// Returns what goes on with the version that it has, because the states of the two are not of the same form.
    pub(crate) fn replace(&self, plugin: &LoadedPlugin, terms: &Terms) -> Vec<Kept> {
        let versions = self.running.iter().filter(|version| version.plugin.as_str() == plugin.name());
        let kept = versions.filter_map(|version| version.replace(plugin, terms)).collect();
        self.note_unserved();
        kept
    }
}

impl Running {
    fn digest(&self) -> String {
        match &self.role {
            Role::Handler(version, _) => version.borrow().plugin.digest().to_owned(),
            Role::Projection(version) => version.borrow().plugin.digest().to_owned(),
            Role::Saga(version) => version.borrow().runs.plugin.digest().to_owned(),
        }
    }

    fn unserved(&self) -> Vec<CommandType> {
        let Role::Handler(version, HandlerTerms { commands, .. }) = &self.role else { return Vec::new() };
        let version = version.borrow();
        let descriptor = version.plugin.descriptor();
        commands.iter().filter(|command| !descriptor.takes(command.as_str())).cloned().collect()
    }

    fn replace(&self, plugin: &LoadedPlugin, terms: &Terms) -> Option<Kept> {
        let kept = |role: &str, why: String| Some(Kept { what: format!("the {role} {}", self.name), why });
        match &self.role {
            Role::Handler(version, HandlerTerms { isolation, .. }) => {
                let plugin = isolated(plugin.handler()?.clone(), *isolation);
                version.send_replace(terms.of_handler(plugin));
                None
            }
            Role::Projection(version) => {
                let new = plugin.projection()?;
                let (was, is) =
                    (version.borrow().plugin.descriptor().view_version, new.descriptor().view_version);
                if was != is {
                    let why = format!(
                        "the view version was {was} and is {is}; start again, and the view is made anew from all events"
                    );
                    return kept("projection", why);
                }
                version.send_replace(terms.of_projection(new.clone()));
                None
            }
            Role::Saga(version) => {
                let new = plugin.saga()?;
                let (was, is) =
                    (version.borrow().runs.plugin.descriptor().state_version, new.descriptor().state_version);
                if was != is && !new.descriptor().migrates && !terms.drains(was) {
                    return kept(
                        "saga",
                        format!(
                            "the state version was {was} and is {is}, there are instances with the old one, and it has no \
                             migration"
                        ),
                    );
                }
                version.send_replace(terms.of_saga(new.clone()));
                None
            }
        }
    }
}

pub(super) fn isolated(plugin: WasmHandler, isolation: Isolation) -> WasmHandler {
    match isolation {
        Isolation::Shared => plugin,
        Isolation::Alone => plugin.isolating(),
    }
}
