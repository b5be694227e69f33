//! The same events make the same view.

use futures::FutureExt;

use super::{NO_EVENTS, NO_PROJECTION, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::view;

pub(super) static RULE: Rule = Rule {
    id: "PR-02",
    name: "project-same",
    asserts: "a view depends on its events alone: made again, also by an instance that has made others, it is the same",
    why: "a view that is made anew would differ from the one that it replaces",
    mend: "keep nothing between calls, and do not iterate over a map whose order is left to chance",
    after: &["PR-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.plugin.projection() else { return not_tested(NO_PROJECTION) };
    let mut views = Vec::new();
    for round in 0..3 {
        for (n, history) in subject.histories.iter().enumerate() {
            let view = match view::fold(projection, history.events.chunks(1)).await {
                Ok(view) => view,
                Err(why) => return failed(why),
            };
            match views.get(n) {
                None => views.push(view),
                Some(first) if *first == view => {}
                Some(first) => {
                    return failed(format!(
                        "made for the {}th time, the view of history {n} is {view:?}, and was {first:?}",
                        round + 1
                    ));
                }
            }
        }
    }
    passed(views.iter().filter(|view| !view.is_empty()).count(), "views, three times", NO_EVENTS)
}
