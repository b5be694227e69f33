//! The same events and values make the same view.

use super::project_batches::readable;
use super::{NO_EVENTS, NO_PROJECTION, failed, not_applicable, passed};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "PR-04",
    name: "project-same",
    level: Level::Required,
    asserts: "a view depends on its events and stored values alone: tried again, made again, or taken up from any checkpoint, in any instance, it is the same",
    why: "after a crash a batch is tried again, perhaps elsewhere; and a view that is made anew would differ from the one that it replaces",
    mend: "keep nothing between calls, and do not write a map in an order that is left to chance",
    after: &["AL-02", "PR-01", "PR-02"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let (Some(fresh), Some(warm)) = (subject.fresh_projection(), subject.projection()) else {
        return not_applicable(NO_PROJECTION);
    };
    let mut random = subject.random();
    let mut tried = 0;
    let mut calls = 0;
    let mut streams = Vec::new();
    for stream in &subject.corpus.streams {
        let events = readable(&fresh, stream);
        let mut expected = View::new();
        if events.is_empty() || view::fold(&fresh, &mut expected, events.chunks(1)).is_err() {
            continue;
        }
        streams.push((events, expected));
    }
    // The instances serve one stream after the other, again and again.
    let rounds = (subject.suite.effort.calls as usize
        / streams.iter().map(|(e, _)| 4 * e.len()).sum::<usize>().max(1))
    .clamp(2, 50);
    for round in 0..rounds {
        for (events, expected) in &streams {
            let mut view = View::new();
            let checkpoint = random.usize(0..=events.len());
            for (n, event) in events.iter().enumerate() {
                let batch = std::slice::from_ref(event);
                // The first try is not stored, as before a crash.
                let lost = view::changes(&warm, batch, &view, false);
                // In every second round, other instances do the rest, as after a crash.
                let projection = if n >= checkpoint && round % 2 == 1 { &fresh } else { &warm };
                let changes = match view::changes(projection, batch, &view, false) {
                    Ok(changes) => changes,
                    Err(stop) => {
                        return failed(format!("{} tried again: {}", event.event.r#type, stop.what()));
                    }
                };
                calls += 4;
                if lost.as_ref() != Ok(&changes) {
                    let mut other = view.clone();
                    view::write(&mut other, lost.unwrap_or_default());
                    view::write(&mut view, changes);
                    let place = view::difference(&other, &view)
                        .unwrap_or_else(|| "other keys are written".to_owned());
                    return failed(format!("{} tried again on the same values: {place}", event.event.r#type));
                }
                view::write(&mut view, changes);
            }
            if let Some(place) = view::difference(expected, &view) {
                return failed(format!(
                    "made by an instance that has served {calls} calls, from checkpoint {checkpoint} on by another: {place}"
                ));
            }
            tried += 1;
        }
    }
    passed(tried, &format!("views, up to {calls} calls later"), NO_EVENTS)
}
