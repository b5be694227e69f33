//! A handler that lets the host decide ahead does not look at sequences.

use pelton_core::command::ports::Isolation;
use pelton_core::id::Sequence;

use super::{NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-08",
    name: "decide-ahead",
    level: Level::Required,
    asserts: "with `decide-ahead`, decisions do not depend on the sequences of events",
    why: "decided ahead, an entity folds events before their sequences are known",
    mend: "leave the sequences out of the state, or `decide-ahead` out of the descriptor",
    after: &["AL-02", "CH-01", "CH-07"],
    test,
};

/// Other sequences in the same order: far, further apart, and beyond 32 bits.
const ELSEWHERE: [fn(u64) -> u64; 3] = [|n| n * 7 + 1_000_003, |n| n * n + 41, |n| n * 2 + (1 << 40)];

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    if !handler.descriptor().decides_ahead {
        return not_applicable("the plugin does not allow it");
    }
    let missing = "no case has events and a command; add one";
    over_decisions(subject, "decisions at other sequences", missing, |history, command, here| {
        if history.events.is_empty() {
            return Trial::Skipped;
        }
        for elsewhere in ELSEWHERE {
            let mut moved = history.clone();
            moved.events.iter_mut().for_each(|event| event.sequence = Sequence(elsewhere(event.sequence.0)));
            let answer = handler.decided(Isolation::Alone, &moved, command);
            if !same(here, &answer) {
                return Trial::Broken(format!("at other sequences, it decides {}", differs(here, &answer)));
            }
        }
        Trial::Held
    })
}
