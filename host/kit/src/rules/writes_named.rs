//! A projection writes only keys that it has named.

use super::{NO_EVENTS, NO_PROJECTION, failed, not_applicable, passed};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, Stop, View};

pub(super) static RULE: Rule = Rule {
    id: "PR-01",
    name: "writes-named",
    level: Level::Required,
    asserts: "`keys` answers each event with a list of its keys, `project` writes only keys that were named, each once, and both keep to the limits of the contract",
    why: "the host refuses such an answer: the event becomes a dead letter, and its keys stand still",
    mend: "name every key in `keys` that `project` writes for the event",
    after: &["AL-02"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.fresh_projection() else { return not_applicable(NO_PROJECTION) };
    let mut tried = 0;
    for stream in &subject.corpus.streams {
        for size in [1, 3, stream.len()] {
            let mut view = View::new();
            for batch in stream.chunks(size) {
                if let Err(Stop::Wrong(what) | Stop::Unusable(what)) =
                    view::fold(&projection, &mut view, [batch])
                {
                    let types: Vec<_> =
                        batch.iter().take(4).map(|event| event.event.r#type.as_str()).collect();
                    return failed(format!("{}: {what}", types.join(", ")));
                }
                tried += batch.len();
            }
        }
    }
    passed(tried, "events", NO_EVENTS)
}
