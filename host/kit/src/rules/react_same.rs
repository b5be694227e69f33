//! A saga reacts the same on every try.

use futures::FutureExt;

use super::{NO_EVENTS, NO_SAGA, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::saga;

pub(super) static RULE: Rule = Rule {
    id: "SG-01",
    name: "react-same",
    asserts: "what an event concerns, and what an instance does about it, is the same on every try",
    why: "after a crash an input is handled again under the same ids of commands: another reaction would contradict what was sent",
    mend: "keep nothing between calls; take the time from the input's context",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(plugin) = subject.plugin.saga() else { return not_tested(NO_SAGA) };
    let mut tried = 0;
    for event in &subject.happenings {
        let mut seen = None;
        for _ in 0..3 {
            let concerned = match saga::concerns(plugin, event).await {
                Ok(concerned) => concerned,
                Err(why) => return failed(why),
            };
            let mut reactions = Vec::new();
            for concern in &concerned {
                match saga::reacts(plugin, &concern.instance, None, event).await {
                    Ok(reaction) => reactions.push(reaction),
                    Err(why) => return failed(why),
                }
            }
            let now = (concerned, reactions);
            match &seen {
                None => seen = Some(now),
                Some(first) if *first == now => tried += 1,
                Some(first) => {
                    return failed(format!("{}: first {first:?}, then {now:?}", event.event.r#type));
                }
            }
        }
    }
    passed(tried, "reactions, again", NO_EVENTS)
}
