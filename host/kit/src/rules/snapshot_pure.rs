//! Giving a snapshot does not change the entity.

use pelton_core::command::ports::Isolation;

use super::{NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-10",
    name: "snapshot-pure",
    level: Level::Required,
    asserts: "`snapshot` does not change the entity: after it, and after more events, it decides as if it had not been asked for one",
    why: "the host asks for snapshots between commands, when it likes",
    mend: "only read the state in `snapshot`",
    after: &["AL-02", "CH-01", "CH-03", "CH-07"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    over_decisions(subject, "decisions after snapshots", super::NO_COMMANDS, |history, command, expected| {
        let (before, rest) = history.events.split_at(history.events.len() / 2);
        let part = history.first(before.len());
        let Ok(mut entity) = handler.folded(Isolation::Alone, &part) else { return Trial::Skipped };
        let answer = (|| {
            entity.snapshot()?;
            entity.evolve(rest)?;
            entity.snapshot()?;
            entity.snapshot()?;
            entity.decide(command)
        })();
        match same(expected, &answer) {
            true => Trial::Held,
            false => Trial::Broken(format!("after a snapshot, it decides {}", differs(expected, &answer))),
        }
    })
}
