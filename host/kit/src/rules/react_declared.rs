//! A saga sends only what it declares.

use pelton_core::cloudevents::is_plugin_extension;
use pelton_core::contract::MAX_COMMANDS;

use super::{NO_EVENTS, NO_SAGA, failed, not_applicable, passed};
use crate::cases::undeclared;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "SG-03",
    name: "react-declared",
    level: Level::Required,
    asserts: "every command that a saga sends, and every timer that it sets, is of a type that its descriptor lists, and within the limits of the contract",
    why: "the host refuses such a reaction: the instance is quarantined",
    mend: "list the type in the descriptor; send fewer or smaller commands",
    after: &["AL-02"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(saga) = subject.saga() else { return not_applicable(NO_SAGA) };
    let mut tried = 0;
    for reacted in &subject.corpus.reactions {
        let wrong = match &reacted.reaction {
            Err(fault) => Some(fault.what.clone()),
            Ok(Err(_)) => continue,
            Ok(Ok(reaction)) => undeclared(&saga, reaction).or_else(|| {
                let names = reaction.commands.iter().flat_map(|command| &command.metadata);
                let odd = names.into_iter().find(|(name, _)| !is_plugin_extension(name));
                odd.map(|(name, _)| format!("it sends the metadata {name:?}, a name that it may not use"))
                    .or_else(|| {
                        let count = reaction.commands.len();
                        (count > MAX_COMMANDS)
                            .then(|| format!("it sends {count} commands; at most {MAX_COMMANDS} are allowed"))
                    })
            }),
        };
        if let Some(wrong) = wrong {
            return failed(format!("{}: {wrong}", reacted.shown()));
        }
        tried += 1;
    }
    passed(tried, "reactions", NO_EVENTS)
}
