//! The keys of an event depend on the event alone.

use futures::FutureExt;

use super::{NO_EVENTS, NO_PROJECTION, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::view;

pub(super) static RULE: Rule = Rule {
    id: "PR-01",
    name: "keys-alone",
    asserts: "`keys` names the same keys for an event whatever other events are with it",
    why: "a batch is cut anywhere: a row would be missed, or written by two batches at once",
    mend: "derive the keys from the event, and from nothing else",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(projection) = subject.plugin.projection() else { return not_tested(NO_PROJECTION) };
    let mut tried = 0;
    for history in &subject.histories {
        let together = match view::keys(projection, &history.events).await {
            Ok(keys) => keys,
            Err(why) => return failed(why),
        };
        for (event, together) in history.events.iter().zip(&together) {
            match view::keys(projection, std::slice::from_ref(event)).await {
                Ok(alone) if alone.first() == Some(together) => tried += 1,
                Ok(alone) => {
                    return failed(format!(
                        "{} at {}: {:?} by itself, {together:?} with others",
                        event.event.r#type, event.sequence, alone[0]
                    ));
                }
                Err(why) => return failed(why),
            }
        }
    }
    passed(tried, "events", NO_EVENTS)
}
