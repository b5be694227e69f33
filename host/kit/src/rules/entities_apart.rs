//! Entities do not know of each other.

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;
use pelton_core::plugin::PluginFault;

use super::{NO_COMMANDS, NO_HANDLER, Trial, differs, failed, not_applicable, over_decisions, same};
use crate::corpus::Decision;
use crate::corpus::decisions::elsewhere;
use crate::guest::{Answer, Entity, Handler, History};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-05",
    name: "entities-apart",
    level: Level::Required,
    asserts: "an entity decides the same with others in its instance, which come, fold, decide and go in between, and when it is made again there",
    why: "entities of a shard share an instance: one would decide on what another knows",
    mend: "keep nothing in a `static`, a global or a module's variable that belongs to one entity",
    after: &["AL-02", "CH-01", "CH-03", "CH-07"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let decisions = &subject.corpus.decisions;
    if let Some(how) = made_anew(&handler, decisions) {
        return failed(how);
    }
    over_decisions(subject, "decisions among others", NO_COMMANDS, |history, command, alone| {
        if alone.is_err() {
            return Trial::Skipped;
        }
        let nth = decisions.iter().position(|decision| decision.command.id == command.id).unwrap_or(0);
        let others: Vec<_> = (1..=3u8)
            .map(|n| other(&decisions[(nth + 7 * usize::from(n)) % decisions.len()], history, n))
            .collect();
        match among(&handler, history, command, &others) {
            Err(fault) => Trial::Broken(format!("with others in its instance it breaks: {}", fault.what)),
            Ok(answers) => {
                let wrong = answers.iter().find(|(_, answer)| !same(alone, answer));
                wrong.map_or(Trial::Held, |(when, answer)| {
                    Trial::Broken(format!("{when}, it decides {}", differs(alone, answer)))
                })
            }
        }
    })
}

/// Another entity's history, and a command on it.
fn other(decision: &Decision, than: &History, nth: u8) -> (History, Command) {
    let mut history = decision.history.clone();
    if history.entity == than.entity {
        history = elsewhere(&history, nth);
    }
    let mut command = decision.command.clone();
    if let Ok(entity) = crate::inputs::entity(&history.entity) {
        command.entity = entity;
    }
    (history, command)
}

/// The entity's decisions: with others in its instance, which come and go, and after it was made again there.
fn among(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    others: &[(History, Command)],
) -> Result<Vec<(&'static str, Answer)>, PluginFault> {
    let together = handler.apart();
    let shared = Isolation::Shared;
    let mut lives: Vec<(Entity<'_>, &History, &Command)> = Vec::new();
    for (other, command) in &others[..2] {
        lives.push((together.create(&other.entity, shared)?, other, command));
    }
    let mut entity = together.create(&history.entity, shared)?;
    // The entities fold one event each, in turn. Faults of the others do not matter.
    let longest = others[..2].iter().map(|(other, _)| other.events.len()).max().unwrap_or(0);
    for n in 0..history.events.len().max(longest) {
        for (live, other, command) in &mut lives {
            if let Some(event) = other.events.get(n) {
                let _ = live.evolve(std::slice::from_ref(event));
            }
            let _ = live.decide(command);
        }
        if n == history.events.len() / 2
            && let Some((gone, ..)) = lives.pop()
        {
            drop(gone);
            let (other, command) = &others[2];
            if let Ok(mut come) = together.folded(shared, other) {
                let _ = come.decide(command);
                lives.push((come, other, command));
            }
        }
        if let Some(event) = history.events.get(n) {
            entity.evolve(std::slice::from_ref(event))?;
        }
    }
    for (live, _, command) in &mut lives {
        let _ = live.decide(command);
        let _ = live.snapshot();
    }
    let mut answers = vec![("with others in its instance", entity.decide(command))];
    drop(entity);
    let mut again = together.folded(shared, history)?;
    answers.push(("made again in an instance where it was before", again.decide(command)));
    Ok(answers)
}

/// How an entity without events is affected by another of the same id that has events, if it is.
fn made_anew(handler: &Handler<'_>, decisions: &[Decision]) -> Option<String> {
    for decision in decisions.iter().filter(|decision| !decision.history.events.is_empty()).take(60) {
        let Decision { history, command, .. } = decision;
        let empty = history.empty();
        let alone = handler.reference(&empty, command);
        let together = handler.apart();
        let Ok(first) = together.folded(Isolation::Shared, history) else { continue };
        // This entity keeps the instance alive.
        let _holder = together.create(&elsewhere(&empty, 1).entity, Isolation::Shared);
        for (when, first) in [("while", Some(first)), ("after", None)] {
            let answer = together.decided(Isolation::Shared, &empty, command);
            drop(first);
            if !same(&alone, &answer) {
                return Some(format!(
                    "{}: made without events {when} one of the same id is there, it decides {}",
                    super::on(command, &empty),
                    differs(&alone, &answer)
                ));
            }
        }
    }
    None
}
