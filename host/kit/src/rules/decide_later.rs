//! A decision does not affect later ones.

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_COMMANDS, NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::guest::{Answer, Handler, History};
use crate::inputs;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-15",
    name: "decide-later",
    level: Level::Required,
    asserts: "an entity that has decided, and then folds events of others or its own, decides as one that was loaded",
    why: "after a conflict, and for every command behind the first, the host decides on an entity that was asked before",
    mend: "change the state in `evolve` only",
    after: &["AL-02", "CH-01", "CH-03", "CH-07"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    over_decisions(subject, "decisions after others", NO_COMMANDS, |history, command, first| {
        if first.is_err() {
            return Trial::Skipped;
        }
        let wrong = after_conflict(&handler, history, command, first)
            .or_else(|| after_its_events(&handler, history, command, first));
        wrong.map_or(Trial::Held, Trial::Broken)
    })
}

/// The entity decides, its append meets a conflict, it folds more events, and it decides again.
fn after_conflict(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    first: &Answer,
) -> Option<String> {
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
        format!(
            "asked before the last {} events and again after them, it decides {}",
            rest.len(),
            differs(first, &then)
        )
    })
}

/// The entity decides, its events are stored and folded, and it decides again.
fn after_its_events(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    first: &Answer,
) -> Option<String> {
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
        format!(
            "once its events are stored, loaded and live entity decide otherwise: {}",
            differs(&loaded, &live)
        )
    })
}
