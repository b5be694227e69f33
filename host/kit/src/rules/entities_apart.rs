//! Entities do not know of each other.

use futures::FutureExt;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};

use super::{MOST, NO_COMMANDS, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided, folded, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-05",
    name: "entities-apart",
    asserts: "an entity decides the same with others in its instance, which come, decide and go in between",
    why: "entities of a shard share an instance: one would decide on what another knows",
    mend: "keep nothing in a `static`, a global or a module's variable that belongs to one entity",
    after: &["CH-01", "CH-02"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let decisions = subject.decisions(MOST);
    let mut tried = 0;
    for (n, (history, command)) in decisions.iter().enumerate() {
        let alone = decided(handler, Isolation::Alone, history, command).await;
        // In an instance of their own, with others of the cases around.
        let together = handler.for_shard();
        let other = |offset: usize| &decisions[(n + offset) % decisions.len()];
        let (before, after) = (other(1), other(2));
        let neighbour = folded(&together, Isolation::Shared, before.0).await;
        let Ok(mut entity) = folded(&together, Isolation::Shared, history).await else { continue };
        if let Ok(mut neighbour) = neighbour {
            let _ = neighbour.decide(&before.1).await;
        }
        // It goes with the end of its block.
        if let Ok(mut guest) = folded(&together, Isolation::Shared, after.0).await {
            let _ = guest.decide(&after.1).await;
        }
        let among = entity.decide(command).await;
        if !same(&alone, &among) {
            return failed(format!(
                "{} on {}: {} alone, {} with others in its instance",
                command.r#type,
                history.entity,
                shown(&alone),
                shown(&among)
            ));
        }
        tried += 1;
    }
    passed(tried, "decisions among others", NO_COMMANDS)
}
