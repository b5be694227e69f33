//! The same state and command lead to the same decision.

use futures::FutureExt;
use pelton_core::command::ports::{HandlerPlugin, Isolation};

use super::{MOST, NO_COMMANDS, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided, folded, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-02",
    name: "decide-same",
    asserts: "a decision depends on the entity's events and the command alone: it is the same in a fresh instance and in one that has served others",
    why: "after a crash a command is decided again; another decision would contradict what a caller was told",
    mend: "keep nothing outside of the entity, and do not iterate over a map whose order is left to chance",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

/// How many other decisions an instance has served before it is asked again.
const OTHERS: usize = 1_000;

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let decisions = subject.decisions(MOST);
    let mut first = Vec::new();
    for (history, command) in &decisions {
        first.push(decided(handler, Isolation::Alone, history, command).await);
    }
    let worn = handler.for_shard();
    // An instance lives for as long as it has an entity.
    let _lives_on = match decisions.first() {
        Some((history, _)) => folded(&worn, Isolation::Shared, history).await.ok(),
        None => None,
    };
    let mut served = 0;
    while served < OTHERS && !decisions.is_empty() {
        for (history, command) in &decisions {
            let _ = decided(&worn, Isolation::Shared, history, command).await;
            served += 1;
        }
    }
    for ((history, command), first) in decisions.iter().zip(&first) {
        let again = decided(&worn, Isolation::Shared, history, command).await;
        // A fault names its sandbox; that there is one is what counts.
        if !(same(first, &again) || (first.is_err() && again.is_err())) {
            let (r#type, entity) = (&command.r#type, &history.entity);
            return failed(format!(
                "{type} on {entity}: a fresh instance decides {}, one that has served {served} others {}",
                shown(first),
                shown(&again)
            ));
        }
    }
    passed(decisions.len(), "decisions, fresh and worn", NO_COMMANDS)
}
