//! `pelton.toml`: from the text of the file to checked values.
//!
//! The folder `text` turns the file into values that know where they stand. One file for each table declares the keys of
//! the table, and holds what was typed, how it is checked and what is used of it. `typed` puts the tables together,
//! `reference` prints every key. Nothing stops at the first mistake: one run reports all.

mod audit;
mod cache;
mod commands;
mod gateway;
mod handlers;
mod nats;
mod plugins;
mod projections;
pub(crate) mod reference;
mod retry;
mod role_keys;
mod routes;
mod sagas;
mod shutdown;
mod streams;
mod text;
pub(crate) mod typed;
mod wasm;

use std::collections::BTreeMap;
use std::path::Path;

use pelton_core::command::entity::CacheLimits;
use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::retry::RetryPolicy;
use toml::de::DeTable;

pub use audit::AuditSettings;
pub use commands::CommandSettings;
pub use gateway::GatewaySettings;
pub use handlers::HandlerConfig;
pub use nats::{NatsSettings, check_nats_url};
pub use plugins::{PluginConfig, PluginSource};
pub use projections::ProjectionConfig;
pub use routes::RouteConfig;
pub use sagas::SagaConfig;
pub use shutdown::ShutdownSettings;
pub use streams::StreamConfig;
pub use text::problem::{At, Problem, Report, Severity, Source, Span, Unreadable, suggestion};
pub use text::value::{MAX_NAME_BYTES, duration, show_bytes, show_duration};
pub(crate) use text::value::{name as check_name, pointer as check_pointer};
pub use wasm::WasmSettings;

use text::problem::Problems;
use text::reader::Reader;
use typed::Typed;

/// A complete configuration that passed all checks.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[gateway]`
    pub gateway: GatewaySettings,
    /// `[commands]`
    pub commands: CommandSettings,
    /// `[retry]`
    pub retry: RetryPolicy,
    /// `[cache]`
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

/// A file that was read: its text, the configuration if it is valid, and all problems.
#[derive(Debug)]
pub struct Loaded {
    /// The text.
    pub source: Source,
    /// The typed values with their places. `None` if the file is not valid TOML.
    pub(crate) typed: Option<Typed>,
    /// The configuration. `None` if the file has an error.
    pub config: Option<Config>,
    problems: Vec<Problem>,
    syntax: Vec<Problem>,
}

impl Loaded {
    /// All problems of the file, including those found after reading.
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
/// The file cannot be read. Problems with its text are in [`Loaded`].
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
    let reader = Reader::document(&source, &problems, document.get_ref(), &typed::DOCUMENT);
    let typed = Typed::read(&reader, base);
    typed.check(&problems);
    let problems = problems.into_vec();
    drop(document);
    let sound = syntax.is_empty() && !problems.iter().any(Problem::is_error);
    let config = if sound { typed.used() } else { None };
    let typed = syntax.is_empty().then_some(typed);
    Loaded { source, typed, config, problems, syntax }
}

fn syntax_problem(source: &Source, error: &toml::de::Error) -> Problem {
    let end = source.text.len();
    let span = Span::from(error.span().unwrap_or(end..end));
    Problem::new(span, error.message())
}

impl Config {
    /// The plugins that come from the plugin store.
    pub fn store_plugins(&self) -> impl Iterator<Item = (&Name, &PluginConfig)> {
        self.plugins.iter().filter(|(_, plugin)| plugin.source == PluginSource::Store)
    }

    /// The routes of all command types to their entities.
    pub fn command_routes(&self) -> impl Iterator<Item = (&CommandType, CommandRoute)> {
        self.handlers.values().flat_map(HandlerConfig::routes)
    }
}
