//! A decision does not change the entity.

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_COMMANDS, NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::guest::{Answer, Handler, History};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-07",
    name: "decide-pure",
    level: Level::Required,
    asserts: "`decide` changes nothing: asked again, at once or after other commands, it decides the same, byte by byte",
    why: "the host asks again after every conflict, and decides other commands on the same entity",
    mend: "change the state in `evolve` only; keep no counter, and do not write a map in an order that is left to chance",
    after: &["AL-02", "CH-01", "CH-12"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let commands: Vec<&Command> = subject.corpus.decisions.iter().map(|decision| &decision.command).collect();
    over_decisions(subject, "decisions, asked twice", NO_COMMANDS, |history, command, first| {
        if first.is_err() {
            return Trial::Skipped;
        }
        let nth = commands.iter().position(|other| other.id == command.id).unwrap_or(0);
        let others: Vec<_> = (0..3).map(|n| commands[(nth + 5 * n + 1) % commands.len()]).collect();
        again(&handler, history, command, first, &others).map_or(Trial::Held, Trial::Broken)
    })
}

/// Asks again at once, and after other commands.
fn again(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    first: &Answer,
    others: &[&Command],
) -> Option<String> {
    let mut entity = handler.folded(Isolation::Alone, history).ok()?;
    let _ = entity.decide(command);
    let second = entity.decide(command);
    if !same(first, &second) {
        return Some(format!("asked again, it decides {}", differs(first, &second)));
    }
    for other in others {
        // Commands on other entities are put to this one, too: clients may send them.
        let other = Command { entity: command.entity.clone(), ..(*other).clone() };
        let _ = entity.decide(&other);
        let third = entity.decide(command);
        if !same(first, &third) {
            return Some(format!(
                "asked again after {}, it decides {}",
                other.r#type,
                differs(first, &third)
            ));
        }
    }
    None
}
