//! `[sagas.X]`: reacts to events with commands.

use std::collections::HashMap;
use std::time::Duration;

use pelton_core::dead_letter::OnFailure;
use pelton_core::id::{Name, Sequence};
use pelton_core::saga::lead::Start;
use pelton_core::time::Timestamp;

use super::handlers::Handler;
use super::role_keys::{ID_FORM, ON_FAILURE_FORM, OnFailureKey, PLUGIN, STREAM, name_in};
use super::text::key::{Count, DAY, Key, Or, Parsed, Required, Table, TextOrEntry, Time, seconds};
use super::text::problem::{At, Problem, Problems, Span};
use super::text::reader::Reader;
use super::typed::Typed;

static ID: Key<Parsed<Name>, Required> = Key {
    name: "id",
    form: ID_FORM,
    default: Required("\"…\", a name that the saga keeps for good"),
    example: "\"housekeeping\"",
    doc: "What the saga is known by on the server: its stream is `SAGA-<id>`, its commands and dead letters carry it. It stays \
          when the saga is renamed; another id is another saga, which begins anew.",
};
static START: Key<TextOrEntry<Start>, Required> = Key {
    name: "start",
    form: TextOrEntry {
        unit: "`\"beginning\"`, `\"now\"`, `{ sequence = … }` or `{ time = \"…\" }`",
        help: "write \"beginning\", \"now\", { sequence = 812 } or { time = \"2026-01-31T00:00:00Z\" }",
        parse: start,
        show: |start| match start {
            Start::Beginning => "\"beginning\"".to_owned(),
            Start::Now => "\"now\"".to_owned(),
            Start::Sequence(first) => format!("{{ sequence = {first} }}"),
            Start::Time(time) => format!("{{ time = \"{time}\" }}"),
        },
    },
    default: Required("\"beginning\" or \"now\""),
    example: "\"now\"",
    doc: "Which event the saga begins with when it is first made: the stream's first, or the first that is stored from then on, \
          at this sequence or at this time. After that it has a position of its own, and this changes nothing.",
};
static KEEP: Key<Time, Or<Duration>> = Key {
    name: "keep",
    form: seconds(1, 3650 * DAY),
    default: Or(|| Duration::from_secs(14 * DAY)),
    example: "\"30d\"",
    doc: "How long an instance that has ended is remembered: so long `start-once` starts no second one, and a late input is \
          told from one of an instance that never was. Instances that go on are kept for good.",
};
static MAX_DEPTH: Key<Count<u32>, Or<u32>> = Key {
    name: "max-depth",
    form: Count::new(1..=10_000),
    default: Or(|| 100),
    example: "20",
    doc: "The most reactions of sagas that may lead to one another by events and outcomes. The input of one more is set aside: \
          two sagas, or one, command each other in a loop. A timer ends such a chain.",
};
static ON_FAILURE: OnFailureKey = Key {
    name: "on-failure",
    form: ON_FAILURE_FORM,
    default: Or(|| OnFailure::Park),
    example: "\"skip\"",
    doc: "`park`: later inputs of the instance of an input that became a dead letter wait behind it. \
          `skip`: the instance goes on without it.",
};

pub(super) static TABLE: Table = Table {
    name: "sagas",
    header: "[sagas.housekeeping]",
    doc: "A saga. It reacts to events, timers and the outcomes of its commands with commands.",
    keys: &[&ID, &PLUGIN, &STREAM, &START, &KEEP, &MAX_DEPTH, &ON_FAILURE],
    tables: &[],
    free: None,
};

fn start(text: &str, value: Option<&str>) -> Result<Start, String> {
    match (text, value) {
        ("beginning", None) => Ok(Start::Beginning),
        ("now", None) => Ok(Start::Now),
        ("sequence", Some(number)) => match number.parse() {
            Ok(first) if first > 0 => Ok(Start::Sequence(Sequence(first))),
            _ => Err(format!("has the sequence {number:?}, which is not a whole number from 1")),
        },
        ("time", Some(time)) => {
            Timestamp::parse(time).map(Start::Time).map_err(|error| format!("has a time: {error}"))
        }
        (other, None) => Err(format!("is {other:?}, neither \"beginning\" nor \"now\"")),
        (other, Some(_)) => Err(format!("has {other:?} in it, neither `sequence` nor `time`")),
    }
}

/// The table as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Saga {
    pub(crate) name: At<Name>,
    pub(super) id: Option<At<Name>>,
    pub(crate) plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    start: Option<Start>,
    keep: Duration,
    max_depth: u32,
    on_failure: OnFailure,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct SagaConfig {
    /// The name on the server.
    pub id: Name,
    /// The saga's plugin.
    pub plugin: Name,
    /// The stream whose events it reads.
    pub stream: Name,
    /// The first event that a new saga reads.
    pub start: Start,
    /// The time that an ended instance is remembered.
    pub keep: Duration,
    /// The longest chain of reactions that cause each other.
    pub max_depth: u32,
    /// Whether later inputs of an instance wait behind one that became a dead letter.
    pub on_failure: OnFailure,
}

impl Saga {
    pub(super) fn read(name: At<Name>, table: &Reader<'_>) -> Self {
        Self {
            name,
            id: table.at(&ID),
            plugin: table.at(&PLUGIN),
            stream: table.at(&STREAM),
            start: table.at(&START).map(|start| start.value),
            keep: table.get(&KEEP),
            max_depth: table.get(&MAX_DEPTH),
            on_failure: table.get(&ON_FAILURE),
        }
    }

    pub(super) fn used(&self) -> Option<SagaConfig> {
        Some(SagaConfig {
            id: self.id.as_ref()?.value.clone(),
            plugin: name_in(self.plugin.as_ref())?,
            stream: name_in(self.stream.as_ref())?,
            start: self.start?,
            keep: self.keep,
            max_depth: self.max_depth,
            on_failure: self.on_failure,
        })
    }
}

/// Checks that ids are unique among sagas, and differ from everything else that has dead letters.
pub(super) fn check(typed: &Typed, problems: &Problems) {
    let handlers = typed.handlers.iter().map(Handler::known_by);
    let handlers = handlers.map(|id| (id.value.as_str(), (id.span, "a handler")));
    let projections =
        typed.projections.iter().map(|p| (p.name.value.as_str(), (p.name.span, "a projection")));
    let mut taken: HashMap<&str, (Span, &str)> = handlers.chain(projections).collect();
    for id in typed.sagas.iter().filter_map(|saga| saga.id.as_ref()) {
        let text = id.value.as_str();
        if let Some((span, other)) = taken.get(text) {
            let title = format!("the id {text:?} of a saga is that of {other}");
            let help = "streams, commands and dead letters go by it; give each its own";
            problems.add(Problem::new(id.span, title).also(*span, (*other).to_owned()).help(help));
        } else {
            taken.insert(text, (id.span, "another saga"));
        }
    }
}
