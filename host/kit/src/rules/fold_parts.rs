//! Each part of a stored event is an event.

use pelton_core::command::ports::Isolation;

use super::parts::differ;
use super::{NO_HANDLER, Trial, not_applicable, over_decisions, shown};
use crate::guest::History;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-04",
    name: "fold-parts",
    level: Level::Required,
    asserts: "events that share a sequence, as the parts that an upcaster makes of one, are all folded",
    why: "after an upcaster splits an old event, the entity would lack what its second part says",
    mend: "tell events apart by `sequence` and `part` together, or by neither",
    after: &["AL-02", "CH-01", "CH-03", "CH-08"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    over_decisions(
        subject,
        "decisions on events in parts",
        "no case gives a handler two events; add one",
        |history, command, _| {
            if history.events.len() < 2 {
                return Trial::Skipped;
            }
            let made = |events: &[_]| {
                let history = History { entity: history.entity.clone(), events: events.to_vec() };
                let answer = handler.decided(Isolation::Alone, &history, command);
                answer.is_ok().then(|| shown(&answer))
            };
            match differ(&history.events, made) {
                Ok(true) => Trial::Held,
                Ok(false) => Trial::Skipped,
                Err((own, pairs)) => {
                    Trial::Broken(format!("where two events share a sequence, it decides {own} → {pairs}"))
                }
            }
        },
    )
}
