//! The flows of a host: each handler, projection and saga of the configuration with its plugin.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use pelton_core::command::entity::CacheLimits;
use pelton_core::command::ports::{HandlerPlugin, Isolation};
use pelton_core::command::reader::{self, Limits};
use pelton_core::command::{CommandFlow, HandlerSettings};
use pelton_core::id::Name;
use pelton_core::intake::Intake;
use pelton_core::projection::ProjectionFlow;
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::SagaFlow;
use pelton_core::saga::drain::SagaVersions;
use pelton_core::time::Timestamp;
use pelton_nats::hosts::{self, HostStatus};
use pelton_nats::sagas::SagaTimes;
use pelton_nats::topology::{EventStream, HandlerConsumer, View};
use pelton_nats::{
    Assignment, Bucket, BucketViews, Commands, HandlerCommands, Members, Nats, SagaStreamFeeds, SagaStreams,
    StoreSettings, StreamDeadLetters, StreamFeed, StreamStore, Topology,
};
use pelton_wasm::{WasmHandler, WasmProjection, WasmSaga};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::from_store;
use super::prepare::Prepared;
use super::tasks::Tasks;
use super::versions::{HandlerTerms, Terms, Versions, isolated};
use crate::config::{Config, HandlerConfig, ProjectionConfig, SagaConfig};
use crate::operator;

/// An entity of more events is not loaded while a command waits, if the version before can decide.
const LOAD_BESIDE_FROM: u64 = 2_000;

/// All flows with their configuration, before they start.
pub(crate) struct Flows<'a> {
    config: &'a Config,
    terms: &'a BTreeMap<String, Terms>,
    handlers: Vec<(&'a Name, &'a HandlerConfig, WasmHandler)>,
    projections: Vec<(&'a Name, &'a ProjectionConfig, WasmProjection, Bucket)>,
    sagas: Vec<(&'a Name, &'a SagaConfig, WasmSaga)>,
}

/// The running flows.
pub(crate) struct Running {
    pub(crate) tasks: Tasks,
    /// Each token stops the fetching of one flow.
    stops: Vec<CancellationToken>,
    /// One store per event stream, so that its handlers share group commits.
    stores: HashMap<Name, Arc<StreamStore>>,
    /// The store of each saga.
    sagas: Vec<Arc<SagaStreams>>,
    versions: Versions,
    /// For each consumer of a handler, whether this host should read it.
    assignments: Vec<Assignment>,
    members: Members,
    /// The plugin of each handler.
    plugins: HashMap<Name, Name>,
}

impl<'a> Flows<'a> {
    /// Finds each flow's plugin. Missing plugins were reported earlier.
    pub(crate) fn of(prepared: &'a Prepared) -> anyhow::Result<Self> {
        let Prepared { config, plugins, terms, .. } = prepared;
        let plugin = |name: &Name| {
            plugins.get(name.as_str()).with_context(|| format!("the plugin {name} is not loaded"))
        };
        let handlers = config.handlers.iter().map(|(name, handler)| {
            let found = plugin(&handler.plugin)?.handler().context("it is not a command-handler")?;
            anyhow::Ok((name, handler, found.clone()))
        });
        let projections = config.projections.iter().map(|(name, projection)| {
            let found = plugin(&projection.plugin)?.projection().context("it is not a projection")?;
            let bucket = Bucket::new(name, found.descriptor().view_version).map_err(|why| anyhow!(why))?;
            anyhow::Ok((name, projection, found.clone(), bucket))
        });
        let sagas = config.sagas.iter().map(|(name, saga)| {
            let found = plugin(&saga.plugin)?.saga().context("it is not a saga")?;
            anyhow::Ok((name, saga, found.clone()))
        });
        Ok(Self {
            config,
            terms,
            handlers: handlers.collect::<Result<_, _>>()?,
            projections: projections.collect::<Result<_, _>>()?,
            sagas: sagas.collect::<Result<_, _>>()?,
        })
    }

    /// The topology that the flows need.
    pub(crate) fn topology(&self) -> Topology {
        let Config { commands, streams, .. } = self.config;
        let streams = streams.iter().map(|(name, stream)| EventStream {
            name: name.clone(),
            subjects: stream.subjects.clone(),
            limits: stream.limits,
        });
        let handlers = self.handlers.iter().map(|(_, handler, _)| HandlerConsumer {
            id: handler.id.clone(),
            commands: handler.routes().map(|(r#type, route)| (r#type.clone(), route)).collect(),
            partitions: handler.partitions,
            max_ack_pending: commands.max_ack_pending,
        });
        let views = self.projections.iter().map(|(name, _, plugin, _)| View {
            name: (*name).clone(),
            version: plugin.descriptor().view_version,
        });
        let sagas = self.sagas.iter().map(|(_, saga, _)| saga.id.clone());
        Topology {
            log_bytes: commands.max_bytes,
            streams: streams.collect(),
            handlers: handlers.collect(),
            views: views.collect(),
            sagas: sagas.collect(),
            plugin_store: self.config.store_plugins().next().is_some(),
            ..from_store::base_topology(self.config)
        }
    }

    /// The buckets of the views.
    pub(crate) fn buckets(&self) -> HashMap<Name, Bucket> {
        self.projections.iter().map(|(name, _, _, bucket)| ((*name).clone(), bucket.clone())).collect()
    }

    /// Starts all flows and records their versions in `versions`.
    pub(crate) async fn start(
        self,
        nats: &Nats,
        intake: &Arc<Intake>,
        versions: Versions,
    ) -> anyhow::Result<Running> {
        let Self { config, terms, handlers, projections, sagas } = self;
        let dead_letters = dead_letters(config, nats);
        let mut running = Running::new(versions);
        for (name, handler, plugin) in handlers {
            let terms = terms.get(handler.plugin.as_str()).cloned().unwrap_or_default();
            running.handler(config, nats, intake, (name, handler, plugin, &terms)).await?;
        }
        for (name, projection, plugin, bucket) in projections {
            let terms = terms.get(projection.plugin.as_str()).cloned().unwrap_or_default();
            let versions = running.versions.projection(name, &projection.plugin, plugin.clone(), &terms);
            let mut flow = ProjectionFlow {
                name: name.clone(),
                stream: projection.stream.as_str().into(),
                plugin: Arc::new(plugin),
                on_trial: None,
                store: Arc::new(BucketViews::new(nats, bucket)),
                dead_letters: dead_letters.clone(),
                retry: config.retry,
                on_failure: projection.on_failure,
                max_batch: projection.batch,
            };
            let stop = CancellationToken::new();
            running.stops.push(stop.clone());
            let (nats, stream) = (nats.clone(), projection.stream.clone());
            running.tasks.spawn(format!("the projection {name}"), async move {
                flow.run_versions(|| StreamFeed::new(&nats, stream.clone(), stop.clone()), versions).await;
            });
        }
        for (name, saga, plugin) in sagas {
            let terms = terms.get(saga.plugin.as_str()).cloned().unwrap_or_default();
            let versions = running.versions.saga(name, &saga.plugin, plugin.clone(), &terms);
            running.saga(config, nats, intake, (name, saga, plugin), versions)?;
        }
        if !config.handlers.is_empty() {
            running.keep_commands(config, nats);
        }
        Ok(running)
    }
}

impl Running {
    fn new(versions: Versions) -> Self {
        Self {
            tasks: Tasks::default(),
            stops: Vec::new(),
            stores: HashMap::new(),
            sagas: Vec::new(),
            versions,
            assignments: Vec::new(),
            members: Members::new(new_host_id()),
            plugins: HashMap::new(),
        }
    }

    async fn handler(
        &mut self,
        config: &Config,
        nats: &Nats,
        intake: &Arc<Intake>,
        (name, handler, plugin, terms): (&Name, &HandlerConfig, WasmHandler, &Terms),
    ) -> anyhow::Result<()> {
        let (store, dead_letters) = (self.store(config, nats, &handler.stream), dead_letters(config, nats));
        #[cfg(debug_assertions)]
        let (store, dead_letters) = (
            super::failpoints::Failpoints::around(store)?,
            super::failpoints::Failpoints::around(dead_letters)?,
        );
        let shards = handler.shards.unwrap_or_else(processors);
        let settings = HandlerSettings {
            retry: config.retry,
            on_failure: handler.on_failure,
            // Longer than the log keeps the command: as long as it may be handed out, its mark is there.
            keep: 2 * config.commands.keep,
            cache: cache_limits(config, handler, shards),
            snapshots: handler.snapshots,
            load_beside_from: LOAD_BESIDE_FROM,
        };
        let stream: Arc<str> = handler.stream.as_str().into();
        let before = terms.on_trial.as_ref().and_then(|on_trial| on_trial.before.handler().cloned());
        let before = before.map(|plugin| isolated(plugin, handler.isolation));
        let of_versions = HandlerTerms {
            isolation: handler.isolation,
            commands: handler.commands.keys().cloned().collect(),
        };
        let versions = self.versions.handler(name, &handler.plugin, plugin, terms, of_versions);
        let flow = |_| {
            let version = versions.borrow().for_shard();
            let first = before.as_ref().unwrap_or(&version.plugin).for_shard();
            let (store, dead_letters) = (store.clone(), dead_letters.clone());
            let flow =
                CommandFlow::new(handler.id.clone(), stream.clone(), first, store, dead_letters, settings)
                    .without(version.withdrawn.clone());
            match &before {
                Some(_) => Arc::new(flow).succeeded_by(version),
                None => flow,
            }
        };
        let flows = (0..shards).map(flow).collect();
        let limits = Limits {
            max_in_flight: config.commands.max_in_flight,
            progress_every: progress_every(config),
            min_ahead: config.commands.decide_ahead_from,
        };
        let (members, max) = (&self.members, config.commands.max_in_flight);
        let consumer = HandlerCommands::open(
            nats,
            &handler.id,
            (handler.partitions, handler.commands.len()),
            members,
            max,
        )
        .await?;
        self.stops.push(consumer.stop_token());
        self.assignments.extend_from_slice(consumer.assignments());
        self.plugins.insert(handler.id.clone(), handler.plugin.clone());
        let intake = intake.clone();
        self.tasks.spawn(format!("the handler {name}"), async move {
            reader::run(consumer, intake, flows, versions, limits).await;
        });
        Ok(())
    }

    fn saga(
        &mut self,
        config: &Config,
        nats: &Nats,
        intake: &Arc<Intake>,
        (name, saga, plugin): (&Name, &SagaConfig, WasmSaga),
        versions: watch::Receiver<SagaVersions<WasmSaga>>,
    ) -> anyhow::Result<()> {
        let times = SagaTimes { keep: saga.keep, ..SagaTimes::default() };
        let (commands, replicated) = (commands(config, nats, intake), is_replicated(config));
        let store = SagaStreams::start(nats, &saga.id, &saga.stream, commands, replicated, times);
        let store = Arc::new(store);
        self.sagas.push(store.clone());
        #[cfg(debug_assertions)]
        let store = super::failpoints::Failpoints::around(store)?;
        let flow = SagaFlow {
            id: saga.id.clone(),
            stream: saga.stream.as_str().into(),
            plugin,
            on_trial: None,
            draining: Vec::new(),
            store,
            dead_letters: dead_letters(config, nats),
            retry: config.retry,
            on_failure: saga.on_failure,
            max_depth: saga.max_depth,
        };
        let stop = CancellationToken::new();
        self.stops.push(stop.clone());
        let subjects = config.streams.get(&saga.stream).map(|stream| stream.subjects.clone());
        let entities = config.handlers.values().filter(|handler| handler.stream == saga.stream);
        let entities = entities.map(|handler| handler.entity.clone()).collect();
        let events = (saga.stream.clone(), subjects.unwrap_or_default());
        let feeds =
            SagaStreamFeeds::new(nats, &saga.id, events, entities, stop).map_err(|why| anyhow!(why))?;
        let (start, host) = (saga.start, new_host_id());
        self.tasks.spawn(format!("the saga {name}"), async move {
            flow.run(feeds, start, host, versions).await;
        });
        Ok(())
    }

    /// Answers requests for the list of hosts. Returns the versions of all plugins.
    pub(crate) fn answer(&mut self, nats: &Nats, address: SocketAddr) -> Arc<Versions> {
        let stop = CancellationToken::new();
        self.stops.push(stop.clone());
        let (assignments, running) =
            (std::mem::take(&mut self.assignments), Arc::new(std::mem::take(&mut self.versions)));
        let versions = running.clone();
        let machine = operator::machine();
        let started_at = Timestamp::now().to_string();
        let describe = move || HostStatus {
            machine: machine.clone(),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: address.to_string(),
            started_at: started_at.clone(),
            handlers: assignments
                .iter()
                .filter(|assignment| (*assignment).clone().is_ours())
                .map(|assignment| assignment.consumer().to_owned())
                .collect(),
            plugins: versions.digests(),
            unfit: versions.unfit().borrow().iter().map(|(plugin, why)| format!("{plugin}: {why}")).collect(),
        };
        let (plugins, unfit) = (std::mem::take(&mut self.plugins), running.unfit());
        let is_fit =
            move |handler: &Name| plugins.get(handler).is_none_or(|p| !unfit.borrow().contains_key(p));
        let sharing = self.members.clone().run(nats.clone(), stop.clone(), is_fit);
        self.tasks.spawn("sharing out the handlers with other hosts", sharing);
        self.tasks.spawn("answering who asks for hosts", hosts::answer(nats.clone(), stop, describe));
        running
    }

    fn keep_commands(&mut self, config: &Config, nats: &Nats) {
        let stop = CancellationToken::new();
        self.stops.push(stop.clone());
        let (nats, keep) = (nats.clone(), config.commands.keep);
        self.tasks.spawn("letting go of old commands", async move {
            stop.run_until_cancelled(pelton_nats::commands::log::keep_for(&nats, keep)).await;
        });
    }

    fn store(&mut self, config: &Config, nats: &Nats, stream: &Name) -> Arc<StreamStore> {
        let settings = StoreSettings { replicated: is_replicated(config), ..StoreSettings::default() };
        let start = || Arc::new(StreamStore::start(nats, stream, settings));
        self.stores.entry(stream.clone()).or_insert_with(start).clone()
    }

    /// Stops fetching, finishes work in progress, and returns what was left at the deadline.
    pub(crate) async fn finish(self, deadline: Instant) -> Vec<String> {
        self.stops.iter().for_each(CancellationToken::cancel);
        let left = self.tasks.finish(deadline).await;
        for store in self.stores.into_values() {
            store.close().await;
        }
        for saga in self.sagas {
            saga.close().await;
        }
        left
    }
}

fn dead_letters(config: &Config, nats: &Nats) -> Arc<StreamDeadLetters> {
    Arc::new(StreamDeadLetters::new(nats, is_replicated(config)))
}

pub(crate) fn is_replicated(config: &Config) -> bool {
    config.nats.replicas > 1
}

/// The interval of progress signs. Two in a row may get lost before the server redelivers the message.
fn progress_every(config: &Config) -> Duration {
    config.commands.ack_wait / 3
}

fn new_host_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The limits of one shard's cache, reduced to the sandboxes that the process has room for.
fn cache_limits(config: &Config, handler: &HandlerConfig, shards: usize) -> CacheLimits {
    let CacheLimits { entities, bytes } = config.cache;
    let entities = match handler.isolation {
        Isolation::Shared => entities,
        Isolation::Alone => {
            let room = pelton_wasm::max_instances_of_a_plugin().saturating_sub(config.commands.max_in_flight);
            entities.min(room)
        }
    };
    CacheLimits { entities: entities.div_ceil(shards), bytes: bytes / shards }
}

/// The routes of commands to their entities.
pub(crate) fn intake(config: &Config) -> Arc<Intake> {
    let routes = config.command_routes().map(|(r#type, route)| (r#type.to_string(), route));
    Arc::new(Intake::new(routes.collect()))
}

/// Access to commands and their ends.
pub(crate) fn commands(config: &Config, nats: &Nats, intake: &Arc<Intake>) -> Commands {
    let streams = config.handlers.values().flat_map(|handler| {
        handler.commands.keys().map(|r#type| (r#type.to_string(), handler.stream.clone()))
    });
    Commands::new(nats, intake, streams, is_replicated(config))
}
