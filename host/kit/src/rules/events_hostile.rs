//! A plugin says that it cannot read a stored event.

use pelton_core::command::ports::Isolation;
use pelton_core::message::{Event, RecordedEvent};
use pelton_core::plugin::PluginFault;
use pelton_core::projection::view::ViewChange;
use pelton_core::saga::model::{InputContext, SagaInput};

use super::{NO_EVENTS, failed, passed, short};
use crate::guest::{History, broke};
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "AL-03",
    name: "events-hostile",
    level: Level::Required,
    asserts: "an event with any data, and without any attribute that may be missing, is folded or refused by name, and traps nothing, in every role",
    why: "an event that traps cannot be told from a mistake of the plugin, and costs its neighbours a load",
    mend: "return an error from `evolve`, `keys`, `project`, `correlate` or `react` for what cannot be read",
    after: &["AL-02"],
    test,
};

/// How many events of one type are changed.
const OF_A_TYPE: usize = 2;

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
            if let Err((function, fault)) = handed_over(subject, before, &event)
                && broke(&fault)
            {
                let (r#type, data) = (&event.event.r#type, short(&event.event.data));
                return failed(format!("{function}: {type} with the data {data}: {}", fault.what));
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
        RecordedEvent { sequence: pelton_core::id::Sequence(u64::MAX), part: u32::MAX, ..like.clone() },
    ]
}

type Broke = (&'static str, PluginFault);

fn handed_over(subject: &Subject<'_>, before: &History, event: &RecordedEvent) -> Result<(), Broke> {
    let one = std::slice::from_ref(event);
    if let Some(handler) = subject.handler() {
        let entity = handler.folded(Isolation::Shared, before);
        if let Ok(mut entity) = entity {
            entity.evolve(one).map_err(|fault| ("evolve", fault))?;
        }
    }
    if let Some(projection) = subject.projection() {
        let keys = projection.keys(one).map_err(|fault| ("keys", fault))?;
        if let Ok(keys) = keys {
            let views: Vec<_> =
                keys.concat().into_iter().map(|key| ViewChange { key, value: None }).collect();
            let _ = projection.project(one, &views).map_err(|fault| ("project", fault))?;
        }
    }
    if let Some(saga) = subject.saga() {
        let concerned = saga.correlate(event).map_err(|fault| ("correlate", fault))?;
        for concern in concerned.unwrap_or_default() {
            let states = subject.corpus.reactions.iter().filter_map(|reacted| reacted.state.as_deref());
            let input = SagaInput::Event(event.clone());
            let context = InputContext::of_event(event);
            for state in std::iter::once(None).chain(states.take(2).map(Some)) {
                let reacted = saga.react(&concern.instance, state, &input, &context);
                let _ = reacted.map_err(|fault| ("react", fault))?;
            }
        }
    }
    Ok(())
}
