//! `[handlers.X]`: a handler, which decides commands on entities.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pelton_core::command::ports::Isolation;
use pelton_core::command::snapshot::SnapshotPolicy;
use pelton_core::dead_letter::OnFailure;
use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::partition::Partitions;
use pelton_core::subject::{EntityTemplate, TemplateError};
use pelton_nats::subjects;

use super::role_keys::{ID_FORM, ON_FAILURE_FORM, OnFailureKey, PLUGIN, STREAM, name_in};
use super::text::key::{Count, Key, Optional, Or, Parsed, Required, Table, Text, Time, Words, milliseconds};
use super::text::problem::{At, Problem, Problems, Span, suggestion};
use super::text::reader::Reader;
use super::text::value;
use super::typed::Typed;

static ENTITY: Key<Text, Required> = Key {
    name: "entity",
    form: Text("tokens, joined by dots"),
    default: Required("\"booking.{room}.{day}\", or what your entities are"),
    example: "\"booking.{room}.{day}\"",
    doc: "How the handler's entities are named. Events lie at `booking.<room>.<day>.<event type>.v<version>`; \
          the stream has to take them in. The prefix belongs to this handler alone.",
};
static ID: Key<Parsed<Name>, Optional> = Key {
    name: "id",
    form: ID_FORM,
    default: Optional("the handler's name"),
    example: "\"booking\"",
    doc: "What the handler is known by on the server: its consumers and its dead letters carry it. A handler that is renamed keeps \
          its commands and dead letters if `id` says the old name.",
};
static PARTITIONS: Key<Count<u16>, Or<u16>> = Key {
    name: "partitions",
    form: Count::new(1..=64),
    default: Or(|| 1),
    example: "8",
    doc: "Into how many parts the handler's entities are divided. Each part is decided on one host at a time, and the hosts share them \
          out, so more than one host decides the handler's commands. Each costs the server a consumer and every host a connection. \
          A change needs `pelton apply`, and a restart of all hosts.",
};
static ON_FAILURE: OnFailureKey = Key {
    name: "on-failure",
    form: ON_FAILURE_FORM,
    default: Or(|| OnFailure::Skip),
    example: "\"park\"",
    doc: "`skip`: an entity with a command that became a dead letter goes on without it. \
          `park`: later commands of the entity wait behind it.",
};
static SHARDS: Key<Count<usize>, Optional> = Key {
    name: "shards",
    form: Count::new(1..=1_024),
    default: Optional("the number of processors"),
    example: "4",
    doc: "Among how many tasks the handler's entities are divided. Each computes on one processor at a time.",
};
static ISOLATION: Key<Words<Isolation>, Or<Isolation>> = Key {
    name: "isolation",
    form: Words(&[("shared", Isolation::Shared), ("entity", Isolation::Alone)]),
    default: Or(|| Isolation::Shared),
    example: "\"entity\"",
    doc: "`shared`: the entities of a shard share sandboxes; one that breaks a sandbox gets one of its own, and the others \
          are loaded again. `entity`: each entity has a sandbox of its own, which takes a megabyte and more.",
};

pub(super) static TABLE: Table = Table {
    name: "handlers",
    header: "[handlers.booking]",
    doc: "A handler. It decides commands on one entity at a time.",
    keys: &[&ID, &PLUGIN, &STREAM, &ENTITY, &PARTITIONS, &ON_FAILURE, &SHARDS, &ISOLATION],
    tables: &[&COMMANDS, &SNAPSHOTS],
    free: None,
};

static COMMANDS: Table = Table {
    name: "commands",
    header: "[handlers.booking.commands]",
    doc: "Required. The commands that the handler takes; no other handler takes them. For each command, where in its \
          data the tokens of the entity are, as JSON pointers (RFC 6901).",
    keys: &[],
    tables: &[],
    free: Some("book-room = { room = \"/room/id\", day = \"/date\" }"),
};
const COMMANDS_HINT: &str = "{ book-room = { room = \"/room/id\" } }, or what the plugin takes";

static EVENTS: Key<Count<u64>, Or<u64>> = Key {
    name: "events",
    form: Count::new(1..=1_000_000_000),
    default: Or(|| SnapshotPolicy::default().events),
    example: "50",
    doc: "After how many events since the last snapshot one is taken.",
};
static LOAD_TIME: Key<Time, Or<Duration>> = Key {
    name: "load-time",
    form: milliseconds(1, 3_600_000),
    default: Or(|| SnapshotPolicy::default().load_time),
    example: "\"10ms\"",
    doc: "A snapshot is also taken after a load that took longer than this.",
};
static LOAD_EVENTS: Key<Count<u64>, Or<u64>> = Key {
    name: "load-events",
    form: Count::new(1..=1_000_000_000),
    default: Or(|| SnapshotPolicy::default().load_events),
    example: "5",
    doc: "The least number of events that such a load folded.",
};
static SNAPSHOTS: Table = Table {
    name: "snapshots",
    header: "[handlers.booking.snapshots]",
    doc: "When a snapshot of an entity is taken, if the plugin gives one.",
    keys: &[&EVENTS, &LOAD_TIME, &LOAD_EVENTS],
    tables: &[],
    free: None,
};

/// The table as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pub(crate) name: At<Name>,
    id: Option<At<Name>>,
    pub(crate) plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    entity: Option<At<EntityTemplate>>,
    partitions: Partitions,
    pub(crate) commands: Vec<Command>,
    snapshots: SnapshotPolicy,
    on_failure: OnFailure,
    shards: Option<usize>,
    isolation: Isolation,
}

/// One command of a handler as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) r#type: At<CommandType>,
    /// Names of the template, each with the JSON pointer to its value. `None`: the pointer could not be read.
    tokens: Vec<(At<String>, Option<String>)>,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct HandlerConfig {
    /// The name on the server.
    pub id: Name,
    /// The handler's plugin.
    pub plugin: Name,
    /// The stream that holds its events.
    pub stream: Name,
    /// The template of its entities, for example `booking.{room}.{day}`. No other handler uses the prefix.
    pub entity: EntityTemplate,
    /// The number of partitions. One host at a time decides a partition's commands.
    pub partitions: Partitions,
    /// The commands that it takes, each with JSON pointers to the entity's tokens. No other handler takes them.
    pub commands: BTreeMap<CommandType, BTreeMap<String, String>>,
    /// When the host takes a snapshot of an entity, if the plugin supports snapshots.
    pub snapshots: SnapshotPolicy,
    /// Whether later commands of an entity wait behind a dead letter.
    pub on_failure: OnFailure,
    /// The number of tasks that share its entities. `None`: the number of processors.
    pub shards: Option<usize>,
    /// Whether its entities share sandboxes.
    pub isolation: Isolation,
}

impl HandlerConfig {
    /// The route of each command type to its entity.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&CommandType, CommandRoute)> {
        let route = |tokens: &BTreeMap<_, _>| CommandRoute {
            template: self.entity.clone(),
            tokens: tokens.clone(),
            partitions: self.partitions,
        };
        self.commands.iter().map(move |(r#type, tokens)| (r#type, route(tokens)))
    }
}

impl Handler {
    pub(super) fn read(name: At<Name>, table: &Reader<'_>) -> Self {
        Self {
            name,
            id: table.at(&ID),
            plugin: table.at(&PLUGIN),
            stream: table.at(&STREAM),
            entity: table.at(&ENTITY).and_then(|entity| template(&entity, table)),
            partitions: Partitions::new(table.get(&PARTITIONS)).unwrap_or(Partitions::ONE),
            commands: table
                .required_table(&COMMANDS, COMMANDS_HINT)
                .map(|table| commands(&table))
                .unwrap_or_default(),
            snapshots: table.table(&SNAPSHOTS).map(|table| snapshots(&table)).unwrap_or_default(),
            on_failure: table.get(&ON_FAILURE),
            shards: table.at(&SHARDS).map(|shards| shards.value),
            isolation: table.get(&ISOLATION),
        }
    }

    pub(super) fn used(&self) -> Option<HandlerConfig> {
        let commands = self.commands.iter().map(|command| {
            let tokens =
                command.tokens.iter().map(|(token, pointer)| Some((token.value.clone(), pointer.clone()?)));
            Some((command.r#type.value.clone(), tokens.collect::<Option<_>>()?))
        });
        Some(HandlerConfig {
            id: self.known_by().value.clone(),
            partitions: self.partitions,
            plugin: name_in(self.plugin.as_ref())?,
            stream: name_in(self.stream.as_ref())?,
            entity: self.entity.as_ref()?.value.clone(),
            commands: commands.collect::<Option<_>>()?,
            snapshots: self.snapshots,
            on_failure: self.on_failure,
            shards: self.shards,
            isolation: self.isolation,
        })
    }

    /// The name on the server.
    pub(super) fn known_by(&self) -> &At<Name> {
        self.id.as_ref().unwrap_or(&self.name)
    }

    /// The route of a command to its entity. `None` if the command or the template could not be read in full.
    pub(super) fn route(&self, command: &str) -> Option<CommandRoute> {
        let template = self.entity.as_ref()?.value.clone();
        let command = self.commands.iter().find(|known| known.r#type.value.as_str() == command)?;
        let tokens =
            command.tokens.iter().map(|(token, pointer)| Some((token.value.clone(), pointer.clone()?)));
        let tokens: BTreeMap<_, _> = tokens.collect::<Option<_>>()?;
        let complete = template.names().all(|name| tokens.contains_key(name));
        complete.then_some(CommandRoute { template, tokens, partitions: self.partitions })
    }
}

fn snapshots(table: &Reader<'_>) -> SnapshotPolicy {
    let policy = SnapshotPolicy {
        events: table.get(&EVENTS),
        load_time: table.get(&LOAD_TIME),
        load_events: table.get(&LOAD_EVENTS),
    };
    table.finish();
    policy
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

/// Checks that handlers fit their streams, commands fit their entities, and no two handlers share an entity, a
/// command or an id.
pub(super) fn check(typed: &Typed, problems: &Problems) {
    let handlers = &typed.handlers;
    for (index, handler) in handlers.iter().enumerate() {
        events_fit(handler, typed, problems);
        tokens_fit(handler, problems);
        for earlier in &handlers[..index] {
            entities_apart(earlier, handler, problems);
            ids_apart(earlier, handler, problems);
        }
    }
    commands_apart(handlers, problems);
}

/// Checks that the stream captures every event that the handler can emit.
fn events_fit(handler: &Handler, typed: &Typed, problems: &Problems) {
    let (Some(entity), Some(named)) = (&handler.entity, &handler.stream) else { return };
    let Some(stream) = typed.streams.iter().find(|s| s.name.value.as_str() == named.value) else {
        return;
    };
    stream.keeps_events_of(&handler.name, problems);
    let events = subjects::template_pattern(&entity.value);
    if !stream.incomplete && !stream.subjects.iter().any(|subject| value::covers(&subject.value, &events)) {
        let filter = subjects::template_filter(&entity.value);
        let title = format!(
            "the stream `{}` does not take in the events of the handler `{}`",
            named.value, handler.name.value
        );
        let problem = Problem::new(entity.span, title).label(format!("its events lie at `{events}`"));
        let problem = stream
            .subjects
            .first()
            .map_or(problem.clone(), |first| problem.also(first.span, "the stream's subjects"));
        problems.add(problem.help(format!("add \"{filter}\" to the subjects of the stream")).from_absence());
    }
}

/// Checks that each command supplies exactly the tokens of the template.
fn tokens_fit(handler: &Handler, problems: &Problems) {
    let Some(entity) = &handler.entity else { return };
    let names: Vec<_> = entity.value.names().collect();
    for command in &handler.commands {
        let supplied = |name: &str| command.tokens.iter().any(|(token, _)| token.value == name);
        let missing: Vec<_> = names.iter().copied().filter(|name| !supplied(name)).collect();
        for (token, _) in &command.tokens {
            if !names.contains(&token.value.as_str()) {
                let title = format!("the template of the handler has no `{{{}}}`", token.value);
                let problem = Problem::new(token.span, title).also(entity.span, "the template");
                problems.add(problem.help_if(suggestion(&token.value, missing.iter().copied())));
            }
        }
        for name in missing {
            let title = format!("the command `{}` does not say where `{{{name}}}` is", command.r#type.value);
            let problem = Problem::new(command.r#type.span, title).also(entity.span, "the template");
            let help = format!("add {name} = \"/…\", a JSON pointer to its value in the command's data");
            problems.add(problem.help(help).from_absence());
        }
    }
}

/// Checks that no entity belongs to two handlers: each would append to a state that it does not know in full.
fn entities_apart(earlier: &Handler, later: &Handler, problems: &Problems) {
    let (Some(one), Some(other)) = (&earlier.entity, &later.entity) else { return };
    if value::overlap(&subjects::template_filter(&one.value), &subjects::template_filter(&other.value)) {
        let (earlier, later) = (&earlier.name.value, &later.name.value);
        let title = format!("the entities of the handlers `{earlier}` and `{later}` overlap");
        let help = "give each handler a first token of its own";
        problems.add(Problem::new(other.span, title).also(one.span, "the other template").help(help));
    }
}

/// Checks that no two handlers have one id: they would take each other's commands.
fn ids_apart(earlier: &Handler, later: &Handler, problems: &Problems) {
    let (one, other) = (earlier.known_by(), later.known_by());
    if one.value == other.value {
        let title = format!("two handlers have the id {:?}", one.value.as_str());
        let help = "consumers and dead letters go by it; give each its own";
        problems.add(Problem::new(other.span, title).also(one.span, "the other handler").help(help));
    }
}

/// Checks that each command has one handler.
fn commands_apart(handlers: &[Handler], problems: &Problems) {
    let mut commands: Vec<_> =
        handlers.iter().flat_map(|h| h.commands.iter().map(move |command| (h, &command.r#type))).collect();
    commands.sort_by_key(|(_, command)| command.span);
    let mut taken: HashMap<&str, (&Handler, Span)> = HashMap::new();
    for (handler, command) in commands {
        let text = command.value.as_str();
        if let Some((other, span)) = taken.get(text) {
            let title = format!(
                "the command `{text}` has two handlers, `{}` and `{}`",
                other.name.value, handler.name.value
            );
            problems.add(Problem::new(command.span, title).also(*span, "the other handler takes it here"));
        } else {
            taken.insert(text, (handler, command.span));
        }
    }
}
