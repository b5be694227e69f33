//! To decide changes nothing.

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_COMMANDS, NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::guest::{Answer, Handler, History};
use crate::inputs;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-07",
    name: "decide-pure",
    level: Level::Required,
    asserts: "`decide` does not change the entity: asked again, after other commands, or after more events, it decides as if it had not been asked before",
    why: "the host asks again after every conflict, and decides other commands on the same entity",
    mend: "change the state in `evolve` only",
    after: &["AL-02", "CH-01", "CH-03"],
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
        let wrong = again(&handler, history, command, first, &others)
            .or_else(|| after_conflict(&handler, history, command, first))
            .or_else(|| after_its_events(&handler, history, command, first));
        wrong.map_or(Trial::Held, Trial::Broken)
    })
}

/// Asked again at once, and after other commands.
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
        // What is about another entity is asked of this one, too: that is what clients may send.
        let other = Command { entity: command.entity.clone(), ..(*other).clone() };
        let _ = entity.decide(&other);
        let third = entity.decide(command);
        if !same(first, &third) {
            return Some(format!("asked again after {}, it decides {}", other.r#type, differs(first, &third)));
        }
    }
    None
}

/// It is asked, its append meets a conflict, more events are folded, and it is asked again.
fn after_conflict(handler: &Handler<'_>, history: &History, command: &Command, first: &Answer) -> Option<String> {
    let (before, rest) = history.events.split_at(history.events.len() / 2);
    if rest.is_empty() {
        return None;
    }
    let part = History { entity: history.entity.clone(), events: before.to_vec() };
    let mut entity = handler.folded(Isolation::Alone, &part).ok()?;
    let _ = entity.decide(command);
    entity.evolve(rest).ok()?;
    let then = entity.decide(command);
    (!same(first, &then)).then(|| {
        format!("asked before the last {} events and again after them, it decides {}", rest.len(), differs(first, &then))
    })
}

/// Its events are stored and folded, and it is asked again.
fn after_its_events(handler: &Handler<'_>, history: &History, command: &Command, first: &Answer) -> Option<String> {
    let Ok(Ok(events)) = first else { return None };
    let stored = inputs::stored(command, events, &history.events);
    let mut whole = history.clone();
    whole.events.extend(stored.iter().cloned());
    let loaded = handler.reference(&whole, command);
    let mut entity = handler.folded(Isolation::Alone, history).ok()?;
    let _ = entity.decide(command);
    entity.evolve(&stored).ok()?;
    let live = entity.decide(command);
    (!same(&loaded, &live)).then(|| {
        format!("once its events are stored, loaded and live entity decide otherwise: {}", differs(&loaded, &live))
    })
}
