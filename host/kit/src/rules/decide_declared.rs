//! A handler emits only what it declares.

use pelton_core::command::decision;

use super::{NO_COMMANDS, NO_HANDLER, Trial, not_applicable, over_decisions};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-01",
    name: "decide-declared",
    level: Level::Required,
    asserts: "every decision keeps to the descriptor and to the limits of the contract",
    why: "the host refuses such a decision: the command becomes a dead letter",
    mend: "list the event type in `emits` and `folds`, and the code in `rejections`; decide fewer or smaller events",
    after: &["AL-02", "CH-12"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    over_decisions(subject, "decisions", NO_COMMANDS, |_, _, answer| {
        let wrong = match answer {
            Ok(Ok(events)) => decision::check(events, handler.descriptor()).err(),
            Ok(Err(_)) => None,
            Err(fault) => Some(fault.what.clone()),
        };
        wrong.map_or(Trial::Held, Trial::Broken)
    })
}
