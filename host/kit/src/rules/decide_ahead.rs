//! Who lets the host decide ahead does not look at sequences.

use futures::FutureExt;
use pelton_core::command::ports::{HandlerPlugin, Isolation};
use pelton_core::id::Sequence;

use super::{MOST, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{Subject, decided, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-07",
    name: "decide-ahead",
    asserts: "with `decide-ahead`, decisions do not depend on the sequences of events",
    why: "decided ahead, an entity folds events before their sequences are known",
    mend: "leave the sequences out of the state, or `decide-ahead` out of the descriptor",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

/// Far from any sequence of a case.
const ELSEWHERE: u64 = 1_000_003;

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    if !handler.descriptor().decides_ahead {
        return not_tested("the plugin does not allow it");
    }
    let mut tried = 0;
    for (history, command) in subject.decisions(MOST) {
        if history.events.is_empty() {
            continue;
        }
        let mut elsewhere = history.clone();
        elsewhere
            .events
            .iter_mut()
            .for_each(|event| event.sequence = Sequence(event.sequence.0 * 7 + ELSEWHERE));
        let mut answers = Vec::new();
        for history in [history, &elsewhere] {
            answers.push(decided(handler, Isolation::Shared, history, &command).await);
        }
        if !same(&answers[0], &answers[1]) {
            return failed(format!(
                "{} on {}: {}, and {} with other sequences",
                command.r#type,
                history.entity,
                shown(&answers[0]),
                shown(&answers[1])
            ));
        }
        tried += 1;
    }
    passed(tried, "decisions", "no case has events and a command; add one")
}
