//! A saga sends what it declared.

use futures::FutureExt;
use pelton_core::saga::model::TimerChange;
use pelton_core::saga::ports::SagaPlugin;

use super::{NO_EVENTS, NO_SAGA, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::saga;

pub(super) static RULE: Rule = Rule {
    id: "SG-02",
    name: "react-declared",
    asserts: "every command that a saga sends, and every timer that it sets, is of a type that its descriptor lists",
    why: "the host refuses such a reaction: the instance is quarantined",
    mend: "list the type in the descriptor",
    after: &["SG-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(plugin) = subject.plugin.saga() else { return not_tested(NO_SAGA) };
    let descriptor = plugin.descriptor();
    let mut tried = 0;
    for event in &subject.happenings {
        let Ok(concerned) = saga::concerns(plugin, event).await else { continue };
        for concern in concerned {
            let Ok(Ok(reaction)) = saga::reacts(plugin, &concern.instance, None, event).await else {
                continue;
            };
            if let Some(foreign) = reaction.commands.iter().find(|c| !descriptor.commands.contains(&c.r#type))
            {
                return failed(format!(
                    "{}: it sends {:?}, which it does not list",
                    event.event.r#type, foreign.r#type
                ));
            }
            let set = reaction.timers.iter().filter_map(|change| match change {
                TimerChange::Set(timer) => Some(&timer.r#type),
                TimerChange::Cancel(_) => None,
            });
            if let Some(foreign) = set.into_iter().find(|r#type| !descriptor.timers.contains(r#type)) {
                return failed(format!(
                    "{}: it sets the timer {foreign:?}, which it does not list",
                    event.event.r#type
                ));
            }
            tried += 1;
        }
    }
    passed(tried, "reactions", NO_EVENTS)
}
