//! `pelton.toml`: from what was typed to what will be used.
//!
//! The text becomes a tree that knows where everything stands; [`reader`] takes it apart key by key into [`typed`] and
//! [`settings`]; [`check`] looks whether it fits together. Nothing stops at the first mistake: one run reports all.
//! `plugins/hotel/pelton.toml` shows the format; each field here says its key, unit and default.

mod check;
mod problem;
mod reader;
mod settings;
pub mod typed;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pelton_core::command::entity::CacheLimits;
use pelton_core::command::snapshot::SnapshotPolicy;
use pelton_core::dead_letter::OnFailure;
use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::retry::RetryPolicy;
use pelton_core::subject::EntityTemplate;
use pelton_gateway::Route;
use pelton_wasm::Limits;
use toml::de::DeTable;

pub use problem::{At, Problem, Report, Severity, Source, Span, Unreadable, suggestion};
pub use settings::{
    AuditSettings, CommandSettings, GatewaySettings, NatsSettings, ShutdownSettings, WasmSettings,
    check_nats_url,
};
pub use typed::Typed;
pub use value::{MAX_NAME_BYTES, duration, show_bytes, show_duration};

use problem::Problems;
use reader::Reader;

/// A configuration in which everything fits together.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[gateway]`
    pub gateway: GatewaySettings,
    /// `[commands]`
    pub commands: CommandSettings,
    /// `[retry]`: `max-attempts` (default 5) before a message is set aside, `first-delay` (200 ms) after the first
    /// failure, doubling up to `max-delay` (30 s).
    pub retry: RetryPolicy,
    /// `[cache]`: the entities that each handler keeps ready for their next command, `entities` (default 10,000; each
    /// takes a few memory mappings of the process) and `bytes` (1 GiB) at most.
    pub cache: CacheLimits,
    /// `[audit]`
    pub audit: AuditSettings,
    /// `[shutdown]`
    pub shutdown: ShutdownSettings,
    /// `[streams.X]`
    pub streams: BTreeMap<Name, StreamConfig>,
    /// `[plugins.X]`
    pub plugins: BTreeMap<Name, PluginConfig>,
    /// `[handlers.X]`
    pub handlers: BTreeMap<Name, HandlerConfig>,
    /// `[projections.X]`
    pub projections: BTreeMap<Name, ProjectionConfig>,
    /// `[sagas.X]`
    pub sagas: BTreeMap<Name, SagaConfig>,
    /// `[[routes]]`, in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// `[wasm]`
    pub wasm: WasmSettings,
}

/// `[[routes]]`: a command over HTTP.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// `method` (`PUT` by default), `path` and `command`.
    pub route: Route,
    /// `example`: data for the command, as JSON, for people who try it. Default: made from the entity's tokens.
    pub example: Option<String>,
}

/// `[streams.X]`: a stream of events.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// `subjects`: what it holds. They overlap with those of no other stream.
    pub subjects: Vec<String>,
}

/// `[plugins.X]`: a component.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    /// `component`: the file, relative to the configuration.
    pub component: PathBuf,
    /// `sha256`: what the file's digest has to be, as 64 hexadecimal digits. Default: any.
    pub sha256: Option<String>,
    /// `limits`: what each instance may use. `memory-bytes` (default 64 MiB), `call-timeout` (500 ms), `result-bytes`
    /// (8 MiB), `component-bytes` (64 MiB) and, seldom of use, `memories`, `tables`, `table-elements`,
    /// `core-instances`, `handles`, `retire-after-calls` and `retire-at-bytes`; [`Limits`] says what each bounds.
    pub limits: Limits,
}

/// `[handlers.X]`: decides commands.
#[derive(Debug, Clone)]
pub struct HandlerConfig {
    /// `plugin`
    pub plugin: Name,
    /// `stream`: where its events are kept.
    pub stream: Name,
    /// `entity`: how its entities are named, for example `booking.{room}.{day}`. The prefix belongs to it alone.
    pub entity: EntityTemplate,
    /// `[handlers.X.commands]`: for each command it takes, where in the data the entity's tokens are. No other handler
    /// takes these commands.
    pub commands: BTreeMap<CommandType, BTreeMap<String, String>>,
    /// `[handlers.X.snapshots]`: when a snapshot of an entity is taken, if the plugin gives one: after `events` (default
    /// 100) since the last, or after a load that took longer than `load-time` (50 ms) and folded at least `load-events`
    /// (10).
    pub snapshots: SnapshotPolicy,
    /// `on-failure`: whether an entity with a command that became a dead letter goes on without it (`skip`, the
    /// default), or its later commands wait behind it (`park`).
    pub on_failure: OnFailure,
}

/// `[projections.X]`: keeps the view of its name.
#[derive(Debug, Clone)]
pub struct ProjectionConfig {
    /// `plugin`
    pub plugin: Name,
    /// `stream`: whose events it folds.
    pub stream: Name,
    /// `batch`: the most events that are folded at a time. Default 4,000.
    pub batch: usize,
    /// `on-failure`: whether later events of the keys of one that became a dead letter wait behind it (`park`, the
    /// default), or the view goes on without it (`skip`).
    pub on_failure: OnFailure,
}

/// `[sagas.X]`: runs a process.
#[derive(Debug, Clone)]
pub struct SagaConfig {
    /// `plugin`
    pub plugin: Name,
    /// `stream`: whose events it reacts to.
    pub stream: Name,
    /// `on-failure`: whether later inputs of an instance wait behind one that became a dead letter (`park`, the
    /// default), or the instance goes on without it (`skip`).
    pub on_failure: OnFailure,
}

/// A file that has been read: what was typed, what came of it, and what is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// The text.
    pub source: Source,
    /// What was typed, with its places. None where TOML's own rules are broken: then too little of it is certain.
    pub typed: Option<Typed>,
    /// What will be used. None where something is wrong.
    pub config: Option<Config>,
    problems: Vec<Problem>,
    syntax: Vec<Problem>,
}

impl Loaded {
    /// Everything that is wrong with the file, and what else was found out about it since.
    #[must_use]
    pub fn into_report(self, more: Vec<Problem>) -> Report {
        let Self { source, mut problems, syntax, .. } = self;
        problems.extend(more);
        match syntax.is_empty() {
            true => Report::new(source, problems),
            false => Report::of_broken(source, syntax, problems),
        }
    }
}

/// Reads a configuration file.
///
/// # Errors
///
/// Only where the file cannot be read; what is wrong with its text is in [`Loaded`].
pub fn load(path: &Path) -> Result<Loaded, Unreadable> {
    let text = std::fs::read_to_string(path).map_err(|cause| Unreadable { path: path.into(), cause })?;
    let base = path.parent().unwrap_or(Path::new(""));
    Ok(parse(Source { path: path.display().to_string(), text }, base))
}

/// Reads the text of a configuration whose paths are relative to `base`.
#[must_use]
pub fn parse(source: Source, base: &Path) -> Loaded {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let syntax: Vec<_> = errors.iter().map(|error| syntax_problem(&source, error)).collect();
    let problems = Problems::default();
    let typed = Typed::read(Reader::document(&source, &problems, document.get_ref()), base);
    check::check(&typed, &problems);
    let problems = problems.into_vec();
    drop(document);
    let sound = syntax.is_empty() && !problems.iter().any(Problem::is_error);
    let config = if sound { used(&typed) } else { None };
    let typed = syntax.is_empty().then_some(typed);
    Loaded { source, typed, config, problems, syntax }
}

fn syntax_problem(source: &Source, error: &toml::de::Error) -> Problem {
    let end = source.text.len();
    let span = Span::from(error.span().unwrap_or(end..end));
    Problem::new(span, error.message())
}

/// What will be used, if nothing was left out while reading.
fn used(typed: &Typed) -> Option<Config> {
    let settings = typed.settings.clone();
    let name = |typed: &Option<At<String>>| Name::new(&typed.as_ref()?.value).ok();
    let streams = typed.streams.iter().map(|stream| {
        let config =
            StreamConfig { subjects: stream.subjects.iter().map(|subject| subject.value.clone()).collect() };
        (stream.name.value.clone(), config)
    });
    let plugins = typed.plugins.iter().map(|plugin| {
        let config = PluginConfig {
            component: plugin.component.as_ref()?.value.clone(),
            sha256: plugin.sha256.as_ref().map(|digest| digest.value.clone()),
            limits: plugin.limits.clone(),
        };
        Some((plugin.name.value.clone(), config))
    });
    let handlers = typed.handlers.iter().map(|handler| {
        let commands = handler.commands.iter().map(|command| {
            let tokens =
                command.tokens.iter().map(|(token, pointer)| Some((token.value.clone(), pointer.clone()?)));
            Some((command.r#type.value.clone(), tokens.collect::<Option<_>>()?))
        });
        let config = HandlerConfig {
            plugin: name(&handler.plugin)?,
            stream: name(&handler.stream)?,
            entity: handler.entity.as_ref()?.value.clone(),
            commands: commands.collect::<Option<_>>()?,
            snapshots: handler.snapshots,
            on_failure: handler.on_failure.unwrap_or(OnFailure::Skip),
        };
        Some((handler.name.value.clone(), config))
    });
    let projections = typed.projections.iter().map(|projection| {
        let config = ProjectionConfig {
            plugin: name(&projection.plugin)?,
            stream: name(&projection.stream)?,
            batch: projection.batch.unwrap_or(4_000),
            on_failure: projection.on_failure.unwrap_or(OnFailure::Park),
        };
        Some((projection.name.value.clone(), config))
    });
    let sagas = typed.sagas.iter().map(|saga| {
        let config = SagaConfig {
            plugin: name(&saga.plugin)?,
            stream: name(&saga.stream)?,
            on_failure: saga.on_failure.unwrap_or(OnFailure::Park),
        };
        Some((saga.name.value.clone(), config))
    });
    let routes = typed.routes.iter().map(|route| {
        let command = CommandType::new(&route.command.as_ref()?.value).ok()?;
        let example = route.example.as_ref().map(|example| example.value.clone());
        Some(RouteConfig {
            route: Route::new(Some(route.method?), &route.path.as_ref()?.value, command).ok()?,
            example,
        })
    });
    Some(Config {
        streams: streams.collect(),
        plugins: plugins.collect::<Option<_>>()?,
        handlers: handlers.collect::<Option<_>>()?,
        projections: projections.collect::<Option<_>>()?,
        sagas: sagas.collect::<Option<_>>()?,
        routes: routes.collect::<Option<_>>()?,
        nats: settings.nats,
        gateway: settings.gateway,
        commands: settings.commands,
        retry: settings.retry,
        cache: settings.cache,
        audit: settings.audit,
        shutdown: settings.shutdown,
        wasm: settings.wasm,
    })
}

impl Config {
    /// How the commands of one handler find their entity, by type.
    pub fn command_routes(&self) -> impl Iterator<Item = (&CommandType, CommandRoute)> {
        self.handlers.values().flat_map(|handler| {
            let route = |tokens: &BTreeMap<_, _>| CommandRoute {
                template: handler.entity.clone(),
                tokens: tokens.clone(),
            };
            handler.commands.iter().map(move |(r#type, tokens)| (r#type, route(tokens)))
        })
    }
}
