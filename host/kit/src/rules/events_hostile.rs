//! A plugin says that it cannot read a stored event.

use std::time::Duration;

use pelton_core::command::ports::Isolation;
use pelton_core::message::{Event, RecordedEvent};
use pelton_core::plugin::PluginFault;
use pelton_core::saga::model::{InputContext, SagaInput};
use pelton_core::time::Timestamp;

use super::react_declared::check_reaction;
use super::{NO_EVENTS, failed, passed, short};
use crate::corpus::decisions::command_on;
use crate::guest::{Entity, History, Saga, broke};
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::check_instance;
use crate::view::{self, Stop, View};

pub(super) static RULE: Rule = Rule {
    id: "AL-03",
    name: "events-hostile",
    level: Level::Required,
    asserts: "an event with any data, and without any attribute that may be missing, is folded or refused by name, in every role: it traps nothing, now or later, and leads to no commands and timers that are not declared",
    why: "an event that traps cannot be told from a mistake of the plugin, and costs its neighbours a load",
    mend: "return an error from `evolve`, `keys`, `project`, `correlate` or `react` for what cannot be read",
    after: &["AL-02"],
    test,
};

/// How many events of one type are changed.
const OF_A_TYPE: usize = 2;
/// How often an event is handed over.
const AGAIN: usize = 3;
/// How many commands are decided after it.
const COMMANDS: usize = 12;

fn test(subject: &Subject<'_>) -> Finding {
    let mut random = subject.random();
    let most = subject.suite.effort.hostile / 2;
    let mut tried = 0;
    // Events, each with those before it.
    let mut all: Vec<(History, RecordedEvent)> = Vec::new();
    let histories = subject.corpus.histories.iter().map(|history| (history.entity.clone(), &history.events));
    let streams = subject.corpus.streams.iter().map(|events| ("1".to_owned(), events));
    for (entity, events) in histories.chain(streams) {
        for (n, event) in events.iter().enumerate() {
            let of_type = all.iter().filter(|(_, other)| {
                (&other.event.r#type, other.event.version) == (&event.event.r#type, event.event.version)
            });
            if of_type.count() < OF_A_TYPE {
                let before = History { entity: entity.clone(), events: events[..n].to_vec() };
                all.push((before, event.clone()));
            }
        }
    }
    for (before, like) in &all {
        let changed = hostile::data(std::slice::from_ref(&like.event.data), &mut random, most);
        let with_data = changed.into_iter().map(|data| {
            let mut event = like.clone();
            event.event.data = data;
            event
        });
        for event in with_data.chain(attributes(like)) {
            if let Err((function, what)) = handed_over(subject, before, &event) {
                let (r#type, data) = (&event.event.r#type, short(&event.event.data));
                return failed(format!("{function}: {type} with the data {data}: {what}"));
            }
            tried += 1;
        }
    }
    passed(tried, "events", NO_EVENTS)
}

/// The event with attributes left out, or strange.
fn attributes(like: &RecordedEvent) -> Vec<RecordedEvent> {
    let with = |change: fn(&mut Event)| {
        let mut event = like.clone();
        change(&mut event.event);
        event
    };
    vec![
        with(|event| event.subject = None),
        with(|event| event.time = None),
        with(|event| event.datacontenttype = None),
        with(|event| event.extensions.clear()),
        with(|event| {
            (event.subject, event.time, event.datacontenttype) = (None, None, None);
            event.extensions.clear();
        }),
        with(|event| event.dataschema = Some("https://example.org/schema".to_owned())),
        with(|event| event.subject = Some("\u{202e}🚰 a.b".to_owned())),
        with(|event| event.extensions.push(("x".to_owned(), "\u{0}".repeat(1_000)))),
        // Other writers have ids and sources of their own.
        with(|event| (event.id, event.source) = ("x".to_owned(), "urn:x".to_owned())),
        with(|event| event.time = Some(Timestamp(0))),
        with(|event| event.time = Some(Timestamp(u64::MAX))),
        RecordedEvent { recorded_at: Timestamp(1), ..like.clone() },
        RecordedEvent { sequence: pelton_core::id::Sequence(u64::MAX), part: u32::MAX, ..like.clone() },
    ]
}

/// A function, and how it broke.
type Broke = (&'static str, String);

fn unless_refused(function: &'static str) -> impl Fn(PluginFault) -> Result<(), Broke> {
    move |fault| if broke(&fault) { Err((function, fault.what)) } else { Ok(()) }
}

fn handed_over(subject: &Subject<'_>, before: &History, event: &RecordedEvent) -> Result<(), Broke> {
    let one = std::slice::from_ref(event);
    if let Some(handler) = subject.handler()
        && let Ok(mut entity) = handler.folded(Isolation::Shared, before)
    {
        fold(subject, &mut entity, before, one)?;
    }
    if let Some(projection) = subject.projection() {
        let mut view = View::new();
        for _ in 0..AGAIN {
            match view::changes(&projection, one, &view, false) {
                Ok(changes) => view::write(&mut view, changes),
                Err(Stop::Failed(_) | Stop::Unusable(_)) => break,
                Err(stop) => return Err(("keys and project", stop.what().to_owned())),
            }
        }
    }
    if let Some(saga) = subject.saga() {
        react(subject, &saga, event)?;
    }
    Ok(())
}

/// Folds the event several times, and has the entity decide on what comes of it.
fn fold(
    subject: &Subject<'_>,
    entity: &mut Entity<'_>,
    before: &History,
    one: &[RecordedEvent],
) -> Result<(), Broke> {
    let mut folded = false;
    for _ in 0..AGAIN {
        match entity.evolve(one) {
            Ok(()) => folded = true,
            Err(fault) => {
                unless_refused("evolve")(fault)?;
                break;
            }
        }
    }
    if !folded {
        return Ok(());
    }
    let templates = subject.corpus.templates.iter().filter(|template| !template.unreadable);
    for (n, template) in templates.take(COMMANDS).enumerate() {
        let id = format!("hostile-{n}");
        let Some(command) = command_on(template, before, Duration::from_secs(1), &id) else { continue };
        if let Err(fault) = entity.decide(&command) {
            unless_refused("decide, after the event")(fault)?;
        }
    }
    entity.snapshot().map(drop).or_else(unless_refused("snapshot, after the event"))
}

/// Has the instances that the event concerns react to it several times.
fn react(subject: &Subject<'_>, saga: &Saga<'_>, event: &RecordedEvent) -> Result<(), Broke> {
    let concerned = match saga.correlate(event) {
        Ok(concerned) => concerned.unwrap_or_default(),
        Err(fault) => return unless_refused("correlate")(fault),
    };
    let states: Vec<_> = subject.corpus.reactions.iter().filter_map(|r| r.state.as_deref()).take(2).collect();
    let input = SagaInput::Event(event.clone());
    let context = InputContext::of_event(event);
    // The host sets an event aside whose instance it cannot keep, as one that is refused.
    for concern in concerned.iter().filter(|concern| check_instance(&concern.instance).is_ok()) {
        for state in std::iter::once(None).chain(states.iter().copied().map(Some)) {
            let mut state = state.map(<[u8]>::to_vec);
            for _ in 0..AGAIN {
                match saga.react(&concern.instance, state.as_deref(), &input, &context) {
                    Err(fault) => {
                        unless_refused("react")(fault)?;
                        break;
                    }
                    Ok(Err(_)) => break,
                    Ok(Ok(reaction)) => {
                        check_reaction(saga, &reaction).map_err(|what| ("react", what))?;
                        state = reaction.state;
                    }
                }
            }
        }
    }
    Ok(())
}
