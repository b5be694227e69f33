//! A saga sends only what it declares.

use pelton_core::cloudevents::is_plugin_extension;
use pelton_core::contract::MAX_COMMANDS;
use pelton_core::saga::MAX_TIMERS;
use pelton_core::saga::model::Reaction;

use super::{NO_EVENTS, NO_SAGA, failed, not_applicable, passed};
use crate::cases::undeclared;
use crate::guest::Saga;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::{Reacted, World};

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

/// How many streams, and how many events of each, are handed over again and again, and how often each.
const STREAMS: usize = 3;
const EVENTS: usize = 4;
const TIMES: u64 = 110;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(saga) = subject.saga() else { return not_applicable(NO_SAGA) };
    let mut tried = 0;
    for reacted in &subject.corpus.reactions {
        if let Some(wrong) = wrong(&saga, reacted) {
            return failed(format!("{}: {wrong}", reacted.shown()));
        }
        tried += usize::from(!matches!(reacted.reaction, Ok(Err(_))));
    }
    match too_much(subject, &saga) {
        Some(how) => failed(how),
        None => passed(tried, "reactions", NO_EVENTS),
    }
}

/// What the host refuses of a reaction, or how the saga broke. A failure is an answer.
fn wrong(saga: &Saga<'_>, reacted: &Reacted) -> Option<String> {
    match &reacted.reaction {
        Err(fault) => Some(fault.what.clone()),
        Ok(Err(_)) => None,
        Ok(Ok(reaction)) => check_reaction(saga, reaction).err(),
    }
}

/// Hands the events of each type over again and again, as in a long life. How an instance comes to have more than it may.
fn too_much(subject: &Subject<'_>, saga: &Saga<'_>) -> Option<String> {
    for stream in subject.corpus.streams.iter().take(STREAMS) {
        let mut world = World::default();
        for event in stream.iter().take(EVENTS) {
            for n in 0..TIMES {
                let mut again = event.clone();
                again.sequence.0 += n * 1_000;
                again.event.id = format!("again-{n}:0");
                again.recorded_at.0 += n * 1_000_000_007;
                let Ok(all) = world.event(saga, &again) else { break };
                for reacted in all {
                    if let Some(wrong) = wrong(saga, &reacted) {
                        return Some(format!("{}, the {}th time: {wrong}", reacted.shown(), n + 1));
                    }
                }
                let mut timers = world.instances.iter().map(|(id, instance)| (id, instance.timers.len()));
                if let Some((id, count)) = timers.find(|(_, count)| *count > MAX_TIMERS) {
                    return Some(format!(
                        "{id} has {count} timers set after {} of {}; at most {MAX_TIMERS} are allowed",
                        n + 1,
                        event.event.r#type
                    ));
                }
            }
        }
    }
    None
}

/// Checks a reaction as the host does. The error says what it refuses.
pub(super) fn check_reaction(saga: &Saga<'_>, reaction: &Reaction) -> Result<(), String> {
    if let Some(wrong) = undeclared(saga, reaction) {
        return Err(wrong);
    }
    let mut names = reaction.commands.iter().flat_map(|command| &command.metadata);
    if let Some((name, _)) = names.find(|(name, _)| !is_plugin_extension(name)) {
        return Err(format!("it sends the metadata {name:?}, a name that it may not use"));
    }
    match reaction.commands.len() {
        count if count > MAX_COMMANDS => {
            Err(format!("it sends {count} commands; at most {MAX_COMMANDS} are allowed"))
        }
        _ => Ok(()),
    }
}
