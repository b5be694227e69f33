//! A handler knows the commands that it declares.

use std::collections::BTreeMap;

use pelton_core::message::Rejection;

use super::{NO_HANDLER, failed, not_applicable, not_tested};
use crate::corpus::Origin;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-02",
    name: "commands-known",
    level: Level::Required,
    asserts: "every command that the descriptor lists can be read: not all of its cases are answered with `invalid-command`",
    why: "the host routes the command to the plugin, and every client is told that its data cannot be read",
    mend: "handle the command in `decide`, or take it out of `commands`",
    after: &["CH-01"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let commands = &handler.descriptor().commands;
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let of_cases: Vec<&str> = subject
        .corpus
        .templates
        .iter()
        .filter(|template| template.origin == Origin::Case && !template.unreadable)
        .map(|template| template.given.command.as_str())
        .collect();
    for decision in &subject.corpus.decisions {
        let is_known =
            !matches!(&decision.answer, Ok(Err(rejection)) if rejection.code == Rejection::INVALID_COMMAND);
        *known.entry(decision.command.r#type.as_str()).or_default() |= is_known;
    }
    let (mut missing, mut tried) = (Vec::new(), 0);
    for command in commands {
        match known.get(command.as_str()) {
            Some(true) => tried += 1,
            Some(false) if of_cases.contains(&command.as_str()) => {
                return failed(format!("{command}: every case of it is answered with `invalid-command`"));
            }
            _ => missing.push(command.as_str()),
        }
    }
    match missing.as_slice() {
        [] => Finding::Passed { tried: format!("{tried} commands") },
        missing => not_tested(format!("no case has the command {}; add one", missing.join(", "))),
    }
}
