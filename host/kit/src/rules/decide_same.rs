//! The same state and command lead to the same decision.

use pelton_core::command::ports::Isolation;

use super::{NO_COMMANDS, NO_HANDLER, differs, failed, not_applicable, on, passed, same};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-06",
    name: "decide-same",
    level: Level::Required,
    asserts: "a decision depends on the entity's events and the command alone: byte by byte, it is the same in a fresh instance and in one that has served many others",
    why: "after a crash a command is decided again; another decision would contradict what a caller was told",
    mend: "keep nothing outside of the entity, and do not write a map in an order that is left to chance",
    after: &["AL-02", "CH-01", "CH-05"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let decisions = &subject.corpus.decisions;
    for decision in decisions {
        let again = handler.reference(&decision.history, &decision.command);
        if !same(&decision.answer, &again) {
            return failed(format!(
                "{}: in another fresh instance it decides {}",
                on(&decision.command, &decision.history),
                differs(&decision.answer, &again)
            ));
        }
    }
    let worn = handler.apart();
    // An instance lives as long as it has an entity.
    let _lives_on = decisions.first().and_then(|first| worn.folded(Isolation::Shared, &first.history).ok());
    let mut calls = 0;
    while calls < subject.suite.effort.calls && !decisions.is_empty() {
        for decision in decisions {
            let answer = worn.decided(Isolation::Shared, &decision.history, &decision.command);
            calls += 3;
            if !same(&decision.answer, &answer) {
                return failed(format!(
                    "{}: in an instance that has served {calls} calls it decides {}",
                    on(&decision.command, &decision.history),
                    differs(&decision.answer, &answer)
                ));
            }
            if calls >= subject.suite.effort.calls {
                break;
            }
        }
    }
    passed(decisions.len(), &format!("decisions, up to {calls} calls later"), NO_COMMANDS)
}
