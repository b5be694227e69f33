//! A handler emits what it declared.

use futures::FutureExt;
use pelton_core::command::decision;
use pelton_core::command::ports::{HandlerPlugin, Isolation};

use super::{MOST, NO_COMMANDS, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided};

pub(super) static RULE: Rule = Rule {
    id: "CH-01",
    name: "decide-declared",
    asserts: "every decision keeps to the descriptor and to the limits of the contract, and is not a fault",
    why: "the host refuses such a decision: the command becomes a dead letter",
    mend: "list the event type in `emits` and the code in `rejections`, or mend what traps",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let mut tried = 0;
    for (history, command) in subject.decisions(MOST) {
        let answer = decided(handler, Isolation::Shared, history, &command).await;
        let wrong = match &answer {
            Ok(Ok(events)) => decision::check(events, handler.descriptor()).err(),
            Ok(Err(_)) => None,
            Err(fault) => Some(fault.what.clone()),
        };
        if let Some(wrong) = wrong {
            return failed(format!("{} on {}: {wrong}", command.r#type, history.entity));
        }
        tried += 1;
    }
    passed(tried, "decisions", NO_COMMANDS)
}
