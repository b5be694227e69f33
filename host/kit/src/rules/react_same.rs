//! A saga reacts the same on every try.

use super::{NO_EVENTS, NO_SAGA, differs_in, failed, not_applicable, passed, same_reaction};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "SG-02",
    name: "react-same",
    level: Level::Required,
    asserts: "what an instance does about an input depends on its state and the input alone: it is the same on every try, in a fresh instance and in one that has served many others",
    why: "after a crash an input is handled again under the same ids of commands: another reaction would contradict what was sent",
    mend: "keep nothing between calls; take the time from the input's context",
    after: &["AL-02", "SG-01"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let (Some(fresh), Some(warm)) = (subject.fresh_saga(), subject.saga()) else {
        return not_applicable(NO_SAGA);
    };
    let reactions = &subject.corpus.reactions;
    let mut calls = 0;
    for reacted in reactions {
        for (saga, when) in
            [(&fresh, "in another fresh instance"), (&warm, "on the next try"), (&warm, "on a third try")]
        {
            let again = reacted.again(saga);
            calls += 1;
            if !same_reaction(&reacted.reaction, &again) {
                return failed(format!(
                    "{} {when}: {}",
                    reacted.shown(),
                    differs_in(&reacted.reaction, &again)
                ));
            }
        }
    }
    while calls < subject.suite.effort.calls && !reactions.is_empty() {
        for reacted in reactions.iter().rev() {
            let again = reacted.again(&warm);
            calls += 1;
            if !same_reaction(&reacted.reaction, &again) {
                let how = differs_in(&reacted.reaction, &again);
                return failed(format!("{} after {calls} calls: {how}", reacted.shown()));
            }
        }
    }
    passed(reactions.len(), &format!("reactions, up to {calls} calls later"), NO_EVENTS)
}
