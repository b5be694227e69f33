//! It does not matter how events are cut into batches.

use futures::FutureExt;

use super::{NO_PROJECTION, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::view;

pub(super) static RULE: Rule = Rule {
    id: "PR-03",
    name: "project-batches",
    asserts: "a view made in batches of any size is the one that is made event by event",
    why: "batches are cut by load: two hosts would have two views",
    mend: "fold the events of a batch one after the other, each on the value that the one before left",
    after: &["PR-01", "PR-02"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.plugin.projection() else { return not_tested(NO_PROJECTION) };
    let mut random = subject.random();
    let mut tried = 0;
    for history in subject.histories.iter().filter(|history| history.events.len() > 1) {
        let one_by_one = match view::fold(projection, history.events.chunks(1)).await {
            Ok(view) => view,
            Err(why) => return failed(why),
        };
        for size in [history.events.len(), random.usize(2..=history.events.len())] {
            match view::fold(projection, history.events.chunks(size)).await {
                Ok(view) if view == one_by_one => tried += 1,
                Ok(view) => {
                    return failed(format!("{view:?} in batches of {size}, {one_by_one:?} event by event"));
                }
                Err(why) => return failed(format!("in batches of {size}: {why}")),
            }
        }
    }
    passed(tried, "views", "no case has two events; add one")
}
