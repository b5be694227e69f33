//! The keys of an event depend on the event alone.

use pelton_core::message::RecordedEvent;

use super::{NO_EVENTS, NO_PROJECTION, failed, not_applicable, passed, short};
use crate::guest::Projection;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, Stop, View};

pub(super) static RULE: Rule = Rule {
    id: "PR-02",
    name: "keys-alone",
    level: Level::Required,
    asserts: "`keys` names the same keys for an event whatever other events are with it or were before",
    why: "a batch is cut anywhere: a row would be missed, or written by two batches at once",
    mend: "derive the keys from the event, and from nothing else",
    after: &["AL-02", "PR-01"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let (Some(fresh), Some(warm)) = (subject.fresh_projection(), subject.projection()) else {
        return not_applicable(NO_PROJECTION);
    };
    let mut tried = 0;
    for stream in &subject.corpus.streams {
        // An event that cannot be read by itself is left out: the host sets it aside.
        let alone: Vec<(RecordedEvent, Vec<String>)> =
            stream.iter().filter_map(|event| Some((event.clone(), one(&fresh, event).ok()?))).collect();
        let events: Vec<RecordedEvent> = alone.iter().map(|(event, _)| event.clone()).collect();
        if events.is_empty() {
            continue;
        }
        let reversed: Vec<RecordedEvent> = events.iter().rev().cloned().collect();
        for (together, order) in [(&events, "with others"), (&reversed, "with others in another order")] {
            let keys = match view::keys(&fresh, together) {
                Ok(keys) => keys,
                Err(stop) => return failed(format!("events that it reads one by one: {}", stop.what())),
            };
            for (event, keys) in together.iter().zip(&keys) {
                if let Some((_, by_itself)) = alone.iter().find(|(other, _)| other == event)
                    && by_itself != keys
                {
                    return failed(named(event, by_itself, order, keys));
                }
            }
        }
        // An instance that has made views names the same keys.
        let _ = view::fold(&warm, &mut View::new(), events.iter().map(std::slice::from_ref));
        for (event, by_itself) in alone.iter().chain(alone.iter().rev()) {
            match one(&warm, event) {
                Ok(keys) if keys == *by_itself => tried += 1,
                Ok(keys) => {
                    return failed(named(event, by_itself, "in an instance that has named others", &keys));
                }
                Err(stop) => return failed(format!("in an instance that has named others: {}", stop.what())),
            }
        }
    }
    passed(tried, "events", NO_EVENTS)
}

fn one(projection: &Projection<'_>, event: &RecordedEvent) -> Result<Vec<String>, Stop> {
    view::keys(projection, std::slice::from_ref(event)).map(|mut keys| keys.pop().unwrap_or_default())
}

fn named(event: &RecordedEvent, by_itself: &[String], when: &str, keys: &[String]) -> String {
    let data = short(&event.event.data);
    format!("{} {data}: {by_itself:?} by itself, {keys:?} {when}", event.event.r#type)
}
