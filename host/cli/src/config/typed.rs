//! What was typed: the named things of the file with their places, each value checked by itself. Whether they fit
//! together is for [`super::check`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_core::command::snapshot::SnapshotPolicy;
use pelton_core::dead_letter::OnFailure;
use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::subject::{EntityTemplate, TemplateError};
use pelton_gateway::RouteError;
use pelton_wasm::Limits;

use super::problem::{At, Problem};
use super::reader::Reader;
use super::settings::{self, Settings};
use super::value;

/// The whole file.
#[derive(Debug, Clone)]
pub struct Typed {
    pub(super) settings: Settings,
    /// The names of all plugins and streams, also of those that could not be read.
    pub(super) known: Known,
    pub(super) streams: Vec<Stream>,
    /// The plugins.
    pub plugins: Vec<Plugin>,
    /// The handlers.
    pub handlers: Vec<Handler>,
    /// The projections.
    pub projections: Vec<Follower>,
    /// The sagas.
    pub sagas: Vec<Follower>,
    pub(super) routes: Vec<Route>,
}

/// Names that others can refer to.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) plugins: Vec<String>,
    pub(super) streams: Vec<String>,
}

/// `[streams.X]`
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) name: At<Name>,
    pub(super) subjects: Vec<At<String>>,
    /// Some of its subjects could not be read, so nothing can be said about what it lacks.
    pub(super) incomplete: bool,
}

/// `[plugins.X]`
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its name.
    pub name: At<Name>,
    /// The file, found from the configuration's folder.
    pub component: Option<At<PathBuf>>,
    /// What the file's digest has to be: 64 lower-case hexadecimal digits.
    pub sha256: Option<At<String>>,
    /// What its instances may use.
    pub limits: Limits,
}

/// `[handlers.X]`
#[derive(Debug, Clone)]
pub struct Handler {
    /// Its name.
    pub name: At<Name>,
    /// The plugin that decides.
    pub plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    pub(super) entity: Option<At<EntityTemplate>>,
    /// The commands that it takes.
    pub commands: Vec<Command>,
    pub(super) snapshots: SnapshotPolicy,
    pub(super) on_failure: Option<OnFailure>,
}

/// One command of a handler.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its type.
    pub r#type: At<CommandType>,
    /// Name in the template, and the JSON pointer to its value; none where it could not be read.
    pub(super) tokens: Vec<(At<String>, Option<String>)>,
}

impl Handler {
    /// How a command of this handler finds its entity, where both could be read in full.
    pub(super) fn route(&self, command: &str) -> Option<CommandRoute> {
        let template = self.entity.as_ref()?.value.clone();
        let command = self.commands.iter().find(|known| known.r#type.value.as_str() == command)?;
        let tokens =
            command.tokens.iter().map(|(token, pointer)| Some((token.value.clone(), pointer.clone()?)));
        let tokens: BTreeMap<_, _> = tokens.collect::<Option<_>>()?;
        let complete = template.names().all(|name| tokens.contains_key(name));
        complete.then_some(CommandRoute { template, tokens })
    }
}

/// `[projections.X]` or `[sagas.X]`: what follows a stream.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Its name.
    pub name: At<Name>,
    /// The plugin that does it.
    pub plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    pub(super) batch: Option<usize>,
    pub(super) on_failure: Option<OnFailure>,
}

/// `[[routes]]`
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) method: Option<&'static str>,
    pub(super) path: Option<At<String>>,
    pub(super) command: Option<At<String>>,
    pub(super) example: Option<At<String>>,
}

impl Typed {
    /// Reads the whole file; what is wrong is reported and left out.
    pub(super) fn read(document: Reader<'_>, base: &Path) -> Self {
        let typed = Self {
            settings: Settings::read(&document, base),
            known: Known { plugins: document.keys_of("plugins"), streams: document.keys_of("streams") },
            streams: all(document.named("streams"), stream),
            plugins: all(document.named("plugins"), |name, table| plugin(name, table, base)),
            handlers: all(document.named("handlers"), handler),
            projections: all(document.named("projections"), projection),
            sagas: all(document.named("sagas"), saga),
            routes: document.array_of_tables("routes").into_iter().map(route).collect(),
        };
        document.finish();
        typed
    }
}

fn all<'a, T>(named: Vec<(At<Name>, Reader<'a>)>, read: impl Fn(At<Name>, &Reader<'a>) -> T) -> Vec<T> {
    let read_one = |(name, table)| {
        let one = read(name, &table);
        table.finish();
        one
    };
    named.into_iter().map(read_one).collect()
}

fn stream(name: At<Name>, table: &Reader<'_>) -> Stream {
    let example = "[\"booking.>\"]";
    let typed = table.require("subjects", example, table.texts("subjects", example));
    let mut incomplete = typed.as_ref().is_none_or(|subjects| subjects.value.is_empty());
    let mut subjects = Vec::new();
    for subject in typed.into_iter().flat_map(|typed| typed.value) {
        match value::subject(&subject.value) {
            Ok(()) => subjects.push(subject),
            Err((at, wrong)) => {
                let place = table.inside(subject.span, &subject.value, at);
                table.add(Problem::new(place, format!("the subject {:?} {wrong}", subject.value)));
                incomplete = true;
            }
        }
    }
    Stream { name, subjects, incomplete }
}

fn plugin(name: At<Name>, table: &Reader<'_>, base: &Path) -> Plugin {
    let component = table.require("component", "\"path/to/plugin.wasm\"", table.text("component"));
    let digest = |text: &str| {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let right = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if right { Ok(hex.to_owned()) } else { Err("is no SHA-256".to_owned()) }
    };
    Plugin {
        name,
        component: component.map(|path| At { value: base.join(path.value), span: path.span }),
        sha256: table.parsed(
            "sha256",
            "write 64 lower-case hexadecimal digits; `sha256sum FILE` prints them",
            digest,
        ),
        limits: table.table("limits").map(limits).unwrap_or_default(),
    }
}

fn limits(table: Reader<'_>) -> Limits {
    let default = Limits::default();
    let timeout = Duration::from_millis(1)..=Duration::from_secs(600);
    let counted = |key, most, default| settings::size(table.number(key, 1..=most), default);
    let sized = |key, default| settings::size(table.bytes(key, 64 << 10..=4 << 30), default);
    let limits = Limits {
        component_bytes: sized("component-bytes", default.component_bytes),
        memory_bytes: sized("memory-bytes", default.memory_bytes),
        memories: counted("memories", 1_000, default.memories),
        tables: counted("tables", 1_000, default.tables),
        table_elements: counted("table-elements", 100_000_000, default.table_elements),
        core_instances: counted("core-instances", 10_000, default.core_instances),
        call_time: settings::plain(table.duration("call-timeout", timeout), default.call_time),
        result_bytes: sized("result-bytes", default.result_bytes),
        handles: counted("handles", 10_000_000, default.handles),
        retire_after_calls: u32::try_from(counted("retire-after-calls", u32::MAX.into(), usize::MAX))
            .unwrap_or(default.retire_after_calls),
        retire_at_bytes: sized("retire-at-bytes", default.retire_at_bytes),
        ..default
    };
    table.finish();
    limits
}

fn handler(name: At<Name>, table: &Reader<'_>) -> Handler {
    Handler {
        name,
        plugin: table.require("plugin", "\"…\", a name in [plugins]", table.text("plugin")),
        stream: table.require("stream", "\"…\", a name in [streams]", table.text("stream")),
        entity: table
            .require("entity", "\"booking.{room}.{day}\", or what your entities are", table.text("entity"))
            .and_then(|entity| template(&entity, table)),
        commands: table
            .require(
                "commands",
                "{ book-room = { room = \"/room/id\" } }, or what the plugin takes",
                table.table("commands"),
            )
            .map(|table| commands(&table))
            .unwrap_or_default(),
        snapshots: table.table("snapshots").map(snapshots).unwrap_or_default(),
        on_failure: on_failure(table),
    }
}

fn snapshots(table: Reader<'_>) -> SnapshotPolicy {
    let default = SnapshotPolicy::default();
    let events = 1..=1_000_000_000;
    let load_time = Duration::from_millis(1)..=Duration::from_secs(3_600);
    let policy = SnapshotPolicy {
        events: table.number("events", events.clone()).unwrap_or(default.events),
        load_time: settings::plain(table.duration("load-time", load_time), default.load_time),
        load_events: table.number("load-events", events).unwrap_or(default.load_events),
    };
    table.finish();
    policy
}

fn on_failure(table: &Reader<'_>) -> Option<OnFailure> {
    let word = |text: &str| match text {
        "park" => Ok(OnFailure::Park),
        "skip" => Ok(OnFailure::Skip),
        _ => Err("is neither `park` nor `skip`".to_owned()),
    };
    let help = "`park` has what comes later wait behind it; `skip` goes on without it";
    table.parsed("on-failure", help, word).map(|word| word.value)
}

fn template(typed: &At<String>, table: &Reader<'_>) -> Option<At<EntityTemplate>> {
    match EntityTemplate::parse(&typed.value) {
        Ok(template) => Some(At { value: template, span: typed.span }),
        Err(error) => {
            let place = match error {
                TemplateError::Incomplete | TemplateError::TooMany(_) => typed.span,
                _ => table.inside(typed.span, &typed.value, error.at()),
            };
            let colon = if error.to_string().starts_with(['h', 'n']) { "" } else { ":" };
            table.add(Problem::new(place, format!("the template {:?}{colon} {error}", typed.value)));
            None
        }
    }
}

fn commands(table: &Reader<'_>) -> Vec<Command> {
    let entries = table.tables();
    if entries.is_empty() {
        table.add(Problem::new(table.place(), "the handler takes no commands").from_absence());
    }
    entries.into_iter().filter_map(|(name, tokens)| command(&name, &tokens)).collect()
}

fn command(name: &At<&str>, table: &Reader<'_>) -> Option<Command> {
    let tokens = table.free_texts().into_iter().map(|(token, pointer)| {
        let pointer = pointer.filter(|pointer| check_pointer(pointer, table)).map(|pointer| pointer.value);
        (At { value: token.value.to_owned(), span: token.span }, pointer)
    });
    let tokens = tokens.collect();
    match CommandType::new(name.value) {
        Ok(r#type) => Some(Command { r#type: At { value: r#type, span: name.span }, tokens }),
        Err(error) => {
            table.add(Problem::new(name.span, format!("the command {:?} {error}", name.value)));
            None
        }
    }
}

fn check_pointer(pointer: &At<String>, table: &Reader<'_>) -> bool {
    let Err((at, wrong)) = value::pointer(&pointer.value) else { return true };
    let place = if at == 0 { pointer.span } else { table.inside(pointer.span, &pointer.value, at) };
    let near = format!("/{}", pointer.value.trim_start_matches(['$', '.']).replace('.', "/"));
    let help = (near.len() > 1 && value::pointer(&near).is_ok()).then(|| format!("did you mean \"{near}\"?"));
    table.add(Problem::new(place, format!("{:?} {wrong}", pointer.value)).help_if(help));
    false
}

fn projection(name: At<Name>, table: &Reader<'_>) -> Follower {
    let batch = table.number("batch", 1..=10_000).and_then(|batch| usize::try_from(batch).ok());
    Follower { batch, ..saga(name, table) }
}

fn saga(name: At<Name>, table: &Reader<'_>) -> Follower {
    Follower {
        name,
        plugin: table.require("plugin", "\"…\", a name in [plugins]", table.text("plugin")),
        stream: table.require("stream", "\"…\", a name in [streams]", table.text("stream")),
        batch: None,
        on_failure: on_failure(table),
    }
}

fn route(table: Reader<'_>) -> Route {
    let path = table.require("path", "\"/…\"", table.text("path"));
    let route = Route {
        method: match table.has("method") {
            true => table.text("method").and_then(|method| checked_method(&method, &table)),
            false => judge(None, "/any").ok().map(|route| route.method()),
        },
        path: path.and_then(|path| checked_path(path, &table)),
        command: table.require("command", "\"…\", one that a handler takes", table.text("command")),
        example: table.text("example"),
    };
    table.finish();
    route
}

/// The gateway judges paths and methods. It needs a command to do so, which is read by itself.
fn judge(method: Option<&str>, path: &str) -> Result<pelton_gateway::Route, RouteError> {
    pelton_gateway::Route::new(method, path, CommandType::new("any").expect("a token"))
}

fn checked_method(method: &At<String>, table: &Reader<'_>) -> Option<&'static str> {
    let judged = judge(Some(&method.value), "/any").map(|route| route.method());
    if judged.is_err() {
        let problem = Problem::new(method.span, format!("`method` cannot be {:?}", method.value));
        table.add(problem.help("it can be PUT, POST, PATCH or DELETE"));
    }
    judged.ok()
}

fn checked_path(path: At<String>, table: &Reader<'_>) -> Option<At<String>> {
    let Err(error) = judge(None, &path.value) else { return Some(path) };
    let slashed = format!("/{}", path.value.trim_matches('/'));
    let help = judge(None, &slashed).is_ok().then(|| format!("did you mean \"{slashed}\"?"));
    table.add(Problem::new(path.span, error.to_string()).help_if(help));
    None
}
