//! It does not matter how events are cut into batches.

use bytes::Bytes;
use pelton_core::message::RecordedEvent;

use super::{NO_PROJECTION, failed, not_applicable, passed};
use crate::guest::Projection;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::shrink;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "PR-03",
    name: "project-batches",
    level: Level::Required,
    asserts: "a view made in batches of any size, with values passed in any order, is the one that is made event by event",
    why: "batches are cut by load: two hosts would have two views",
    mend: "fold the events of a batch one after the other, each on the value that the one before left, and find values by their keys",
    after: &["AL-02", "PR-01", "PR-02", "PR-04"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.projection() else { return not_applicable(NO_PROJECTION) };
    let mut random = subject.random();
    let mut tried = 0;
    for stream in &subject.corpus.streams {
        let events = readable(&projection, stream);
        if events.len() < 2 {
            continue;
        }
        if let Some(how) = skips(&projection, stream, &events) {
            return failed(how);
        }
        for size in [events.len(), 1, 2, random.usize(2..=events.len())] {
            for reversed in [false, true] {
                if differs(&projection, &events, size, reversed).is_none() {
                    tried += 1;
                    continue;
                }
                let few =
                    shrink::list(&events, |events| differs(&projection, events, size, reversed).is_some());
                let how = differs(&projection, &few, size, reversed).unwrap_or_default();
                let types: Vec<_> = few.iter().take(6).map(|event| event.event.r#type.as_str()).collect();
                return failed(format!("{}: {how}", types.join(", ")));
            }
        }
    }
    passed(tried, "views", "no case has two events; add one")
}

/// The events that the projection folds one by one. The host sets the others aside.
/// How a batch leaves out an event that fails by itself: the host would take it for handled.
fn skips(
    projection: &Projection<'_>,
    stream: &[RecordedEvent],
    readable: &[RecordedEvent],
) -> Option<String> {
    let first = readable.first()?;
    let mut bad = first.clone();
    bad.event.data = Bytes::from_static(b"\xff{");
    let is_unreadable = |event: &&RecordedEvent| {
        !readable.contains(event)
            && view::changes(projection, std::slice::from_ref(*event), &View::new(), false).is_err()
    };
    let bad = [&bad].into_iter().chain(stream).find(is_unreadable)?;
    for batch in [[first.clone(), bad.clone()], [bad.clone(), first.clone()]] {
        if view::changes(projection, &batch, &View::new(), false).is_ok() {
            let (one, other) = (&batch[0].event.r#type, &batch[1].event.r#type);
            return Some(format!("{one}, {other}: in a batch, it leaves out the one that fails by itself"));
        }
    }
    None
}

pub(super) fn readable(projection: &Projection<'_>, events: &[RecordedEvent]) -> Vec<RecordedEvent> {
    let mut view = View::new();
    let takes =
        |event: &&RecordedEvent| view::fold(projection, &mut view, [std::slice::from_ref(*event)]).is_ok();
    events.iter().filter(takes).cloned().collect()
}

/// How the view that is made in batches differs, if it does.
fn differs(
    projection: &Projection<'_>,
    events: &[RecordedEvent],
    size: usize,
    reversed: bool,
) -> Option<String> {
    let mut one_by_one = View::new();
    view::fold(projection, &mut one_by_one, events.chunks(1)).ok()?;
    let mut view = View::new();
    let how = if reversed { ", with its values in another order" } else { "" };
    for batch in events.chunks(size) {
        match view::changes(projection, batch, &view, reversed) {
            Ok(changes) => view::write(&mut view, changes),
            Err(stop) => return Some(format!("in a batch of {}{how}: {}", batch.len(), stop.what())),
        }
    }
    let place = view::difference(&one_by_one, &view)?;
    Some(format!("event by event and in a batch of {}{how}: {place}", size.min(events.len())))
}
