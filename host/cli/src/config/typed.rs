//! The tables as they were typed, each value checked by itself, and the checks between tables.

use std::collections::HashMap;
use std::path::Path;

use pelton_core::command::entity::CacheLimits;
use pelton_core::id::Name;
use pelton_core::retry::RetryPolicy;

pub(crate) use super::handlers::Handler;
pub(crate) use super::plugins::Plugin;
use super::projections::{self, Projection};
use super::routes::{self, Route};
pub(crate) use super::sagas::Saga;
use super::streams::{self, Stream};
use super::text::key::Table;
use super::text::problem::{At, Problem, Problems, Span, suggestion};
use super::text::reader::Reader;
use super::{
    AuditSettings, CommandSettings, Config, GatewaySettings, NatsSettings, ShutdownSettings, WasmSettings,
    audit, cache, commands, gateway, handlers, nats, plugins, retry, sagas, shutdown, wasm,
};
use crate::role::Role;

/// The whole file.
pub(super) static DOCUMENT: Table = Table {
    name: "",
    header: "",
    doc: "",
    keys: &[],
    tables: &[
        &streams::TABLE,
        &plugins::TABLE,
        &handlers::TABLE,
        &projections::TABLE,
        &sagas::TABLE,
        &routes::TABLE,
        &gateway::TABLE,
        &nats::TABLE,
        &commands::TABLE,
        &retry::TABLE,
        &cache::TABLE,
        &audit::TABLE,
        &shutdown::TABLE,
        &wasm::TABLE,
    ],
    free: None,
};

/// The whole file as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    settings: Settings,
    /// The names of all plugins, unreadable ones included.
    plugin_names: Vec<String>,
    /// The names of all streams, unreadable ones included.
    stream_names: Vec<String>,
    pub(super) streams: Vec<Stream>,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) handlers: Vec<Handler>,
    pub(crate) projections: Vec<Projection>,
    pub(crate) sagas: Vec<Saga>,
    pub(super) routes: Vec<Route>,
}

/// The tables that refer to no other table.
#[derive(Debug, Clone)]
struct Settings {
    nats: NatsSettings,
    gateway: GatewaySettings,
    commands: CommandSettings,
    retry: RetryPolicy,
    cache: CacheLimits,
    audit: AuditSettings,
    shutdown: ShutdownSettings,
    wasm: WasmSettings,
}

/// What a handler, a projection and a saga have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypedRole<'a> {
    pub(crate) role: Role,
    pub(crate) name: &'a At<Name>,
    pub(crate) plugin: Option<&'a At<String>>,
    stream: Option<&'a At<String>>,
}

impl Settings {
    fn read(document: &Reader<'_>, base: &Path) -> Self {
        Self {
            nats: section(document, &nats::TABLE, |table| NatsSettings::read(table, base)),
            gateway: section(document, &gateway::TABLE, GatewaySettings::read),
            commands: section(document, &commands::TABLE, CommandSettings::read),
            retry: section(document, &retry::TABLE, retry::read),
            cache: section(document, &cache::TABLE, cache::read),
            audit: section(document, &audit::TABLE, AuditSettings::read),
            shutdown: section(document, &shutdown::TABLE, ShutdownSettings::read),
            wasm: section(document, &wasm::TABLE, |table| WasmSettings::read(table, base)),
        }
    }
}

fn section<T>(document: &Reader<'_>, table: &'static Table, read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let table = document.section(table);
    let settings = read(&table);
    table.finish();
    settings
}

fn all<T>(document: &Reader<'_>, each: &'static Table, read: impl Fn(At<Name>, &Reader<'_>) -> T) -> Vec<T> {
    let read_one = |(name, table): (_, Reader<'_>)| {
        let one = read(name, &table);
        table.finish();
        one
    };
    document.named(each).into_iter().map(read_one).collect()
}

impl Typed {
    /// The commands that routes send. `None` if a route could not be read, since it may send any.
    pub(crate) fn routed_commands(&self) -> Option<Vec<&str>> {
        self.routes.iter().map(|route| Some(route.command.as_ref()?.value.as_str())).collect()
    }

    /// Reads the whole file. Reports wrong values and leaves them out.
    pub(super) fn read(document: &Reader<'_>, base: &Path) -> Self {
        let typed = Self {
            settings: Settings::read(document, base),
            plugin_names: document.keys_of(plugins::TABLE.name),
            stream_names: document.keys_of(streams::TABLE.name),
            streams: all(document, &streams::TABLE, Stream::read),
            plugins: all(document, &plugins::TABLE, |name, table| Plugin::read(name, table, base)),
            handlers: all(document, &handlers::TABLE, Handler::read),
            projections: all(document, &projections::TABLE, Projection::read),
            sagas: all(document, &sagas::TABLE, Saga::read),
            routes: document.array_of_tables(&routes::TABLE).iter().map(Route::read).collect(),
        };
        document.finish();
        typed
    }

    /// All handlers, projections and sagas in one list.
    pub(crate) fn roles(&self) -> impl Iterator<Item = TypedRole<'_>> {
        let handlers = self.handlers.iter().map(|handler| TypedRole {
            role: Role::Handler,
            name: &handler.name,
            plugin: handler.plugin.as_ref(),
            stream: handler.stream.as_ref(),
        });
        let projections = self.projections.iter().map(|projection| TypedRole {
            role: Role::Projection,
            name: &projection.name,
            plugin: projection.plugin.as_ref(),
            stream: projection.stream.as_ref(),
        });
        let sagas = self.sagas.iter().map(|saga| TypedRole {
            role: Role::Saga,
            name: &saga.name,
            plugin: saga.plugin.as_ref(),
            stream: saga.stream.as_ref(),
        });
        handlers.chain(projections).chain(sagas)
    }

    /// Checks that the tables fit together.
    pub(super) fn check(&self, problems: &Problems) {
        streams::check(&self.streams, problems);
        for role in self.roles() {
            refer("plugin", role.plugin, &self.plugin_names, problems);
            refer("stream", role.stream, &self.stream_names, problems);
        }
        handlers::check(self, problems);
        self.names_apart(problems);
        sagas::check(self, problems);
        routes::check(self, problems);
        plugins::check_idle(self, problems);
    }

    /// Consumers, dead letters and metrics are named after handlers, projections and sagas.
    fn names_apart(&self, problems: &Problems) {
        let mut roles: Vec<_> = self.roles().collect();
        roles.sort_by_key(|role| role.name.span);
        let mut taken: HashMap<&str, (Role, Span)> = HashMap::new();
        for TypedRole { role, name, .. } in roles {
            let text = name.value.as_str();
            if let Some((other, span)) = taken.get(text) {
                let title = format!("the {role} `{text}` has the name of a {other}");
                let help = "consumers, dead letters and metrics go by this name; give each its own";
                problems.add(Problem::new(name.span, title).also(*span, format!("the {other}")).help(help));
            } else {
                taken.insert(text, (role, name.span));
            }
        }
    }

    /// The checked configuration. `None` if a value was left out while reading.
    pub(super) fn used(&self) -> Option<Config> {
        let Settings { nats, gateway, commands, retry, cache, audit, shutdown, wasm } = self.settings.clone();
        let streams = self.streams.iter().map(|stream| (stream.name.value.clone(), stream.used()));
        let plugins = self.plugins.iter().map(|plugin| Some((plugin.name.value.clone(), plugin.used()?)));
        let handlers =
            self.handlers.iter().map(|handler| Some((handler.name.value.clone(), handler.used()?)));
        let projections = self.projections.iter().map(|p| Some((p.name.value.clone(), p.used()?)));
        let sagas = self.sagas.iter().map(|saga| Some((saga.name.value.clone(), saga.used()?)));
        Some(Config {
            nats,
            gateway,
            commands,
            retry,
            cache,
            audit,
            shutdown,
            wasm,
            streams: streams.collect(),
            plugins: plugins.collect::<Option<_>>()?,
            handlers: handlers.collect::<Option<_>>()?,
            projections: projections.collect::<Option<_>>()?,
            sagas: sagas.collect::<Option<_>>()?,
            routes: self.routes.iter().map(Route::used).collect::<Option<_>>()?,
        })
    }
}

/// A name that must be defined in another table.
fn refer(kind: &str, name: Option<&At<String>>, known: &[String], problems: &Problems) {
    let Some(name) = name else { return };
    if !known.contains(&name.value) {
        let help = suggestion(&name.value, known.iter().map(String::as_str))
            .unwrap_or_else(|| format!("define it in [{kind}s.{}]", name.value));
        problems.add(
            Problem::new(name.span, format!("unknown {kind} `{}`", name.value)).help(help).from_absence(),
        );
    }
}
