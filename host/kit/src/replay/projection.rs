//! Replays projections: both versions fold all events into a view.

use pelton_core::message::RecordedEvent;

use super::{Difference, Replayed, events};
use crate::guest::Projection;
use crate::recording::Recording;
use crate::view::{self, View};

/// How many events are folded at a time.
const BATCH: usize = 500;

pub(super) fn replay(
    new: &Projection<'_>,
    old: Option<&Projection<'_>>,
    recording: &Recording,
    replayed: &mut Replayed,
) {
    let of = |projection: &Projection<'_>| -> Vec<RecordedEvent> {
        let reads = &projection.descriptor().events;
        events(recording).filter(|event| event.event.is_of(reads)).cloned().collect()
    };
    let read = of(new);
    let got = match folded(new, &read) {
        Ok(got) => got,
        Err((at, what)) => {
            return replayed.differs(|| Difference {
                place: format!("#{}", at.sequence),
                what: at.event.r#type.clone(),
                expected: "a change of the view".to_owned(),
                got: what,
            });
        }
    };
    let Some(old) = old else {
        (replayed.tried, replayed.same) = (replayed.tried + read.len(), replayed.same + read.len());
        return;
    };
    let Ok(expected) = folded(old, &of(old)) else {
        replayed.not_comparable += 1;
        return;
    };
    let keys: std::collections::BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    for key in keys {
        if expected.get(key) == got.get(key) {
            replayed.same();
            continue;
        }
        let shown = |view: &View| match view.get(key) {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "nothing".to_owned(),
        };
        replayed.differs(|| Difference {
            place: format!("/{key}"),
            what: "the view after all events".to_owned(),
            expected: shown(&expected),
            got: shown(&got),
        });
    }
}

/// The view after all events. An error has the event that cannot be folded.
fn folded<'e>(
    projection: &Projection<'_>,
    events: &'e [RecordedEvent],
) -> Result<View, (&'e RecordedEvent, String)> {
    let mut view = View::new();
    for batch in events.chunks(BATCH) {
        if view::fold(projection, &mut view, [batch]).is_ok() {
            continue;
        }
        // The batch changed nothing, so its events are folded one by one to find the one that breaks.
        for event in batch {
            view::fold(projection, &mut view, [std::slice::from_ref(event)])
                .map_err(|stop| (event, stop.what().to_owned()))?;
        }
    }
    Ok(view)
}
