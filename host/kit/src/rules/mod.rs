//! The rules, one file each.

mod calls_end;
mod commands_known;
mod correlate_alone;
mod decide_ahead;
mod decide_declared;
mod decide_hostile;
mod decide_later;
mod decide_pure;
mod decide_same;
mod describe_same;
mod entities_apart;
mod events_hostile;
mod fold_parts;
mod fold_split;
mod headroom;
mod inputs_any_order;
mod keys_alone;
mod memory_steady;
mod migrate_same;
mod numbers_whole;
mod old_events;
mod parts;
mod project_batches;
mod project_parts;
mod project_same;
mod react_declared;
mod react_parts;
mod react_same;
mod recovers;
mod restore_hostile;
mod settings_apart;
mod snapshot_pure;
mod snapshot_restore;
mod writes_named;

use pelton_core::message::{Command, RecordedEvent};
use pelton_core::saga::model::Reaction;

use crate::corpus::Decision;
use crate::guest::{Answer, History, words};
use crate::inputs::read;
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::saga::Done;
use crate::shrink;

/// All rules, in the order in which they are tested.
pub(crate) static ALL: &[&Rule] = &[
    &describe_same::RULE,
    &calls_end::RULE,
    &headroom::RULE,
    &old_events::RULE,
    &decide_declared::RULE,
    &commands_known::RULE,
    &decide_pure::RULE,
    &fold_split::RULE,
    &decide_ahead::RULE,
    &fold_parts::RULE,
    &entities_apart::RULE,
    &decide_same::RULE,
    &decide_later::RULE,
    &snapshot_pure::RULE,
    &snapshot_restore::RULE,
    &numbers_whole::RULE,
    &decide_hostile::RULE,
    &restore_hostile::RULE,
    &writes_named::RULE,
    &keys_alone::RULE,
    &project_same::RULE,
    &project_batches::RULE,
    &project_parts::RULE,
    &correlate_alone::RULE,
    &react_same::RULE,
    &react_declared::RULE,
    &inputs_any_order::RULE,
    &react_parts::RULE,
    &migrate_same::RULE,
    &events_hostile::RULE,
    &recovers::RULE,
    &settings_apart::RULE,
    &memory_steady::RULE,
];

const NO_HANDLER: &str = "the plugin is not a command handler";
const NO_PROJECTION: &str = "the plugin is not a projection";
const NO_SAGA: &str = "the plugin is not a saga";
const NO_COMMANDS: &str = "no case has a command, and no schema describes one; add a case";
const NO_EVENTS: &str = "no case has events, and no schema describes one; add a case";

fn failed(how: impl Into<String>) -> Finding {
    Finding::Failed { how: how.into() }
}

fn not_tested(why: impl Into<String>) -> Finding {
    Finding::NotTested { why: why.into() }
}

fn not_applicable(why: &str) -> Finding {
    Finding::NotApplicable { why: why.to_owned() }
}

/// Passed, if `count` inputs were tried; not tested, if there were none.
fn passed(count: usize, what: &str, missing: &str) -> Finding {
    match count {
        0 => not_tested(missing),
        count => Finding::Passed { tried: format!("{count} {what}") },
    }
}

/// The result of trying one input.
enum Trial {
    /// The rule holds.
    Held,
    /// The rule says nothing about this input.
    Skipped,
    /// The rule is broken, in this way.
    Broken(String),
}

/// Tries the decisions of the corpus until one breaks the rule, and shortens its history.
fn over_decisions(
    subject: &Subject<'_>,
    what: &str,
    missing: &str,
    check: impl Fn(&History, &Command, &Answer) -> Trial,
) -> Finding {
    let mut tried = 0;
    for Decision { history, command, answer } in &subject.corpus.decisions {
        match check(history, command, answer) {
            Trial::Held => tried += 1,
            Trial::Skipped => {}
            Trial::Broken(how) => return failed(shrunk(subject, history, command, how, &check)),
        }
    }
    passed(tried, what, missing)
}

/// How the rule breaks on the shortest history that was found, with the command and the history.
fn shrunk(
    subject: &Subject<'_>,
    history: &History,
    command: &Command,
    how: String,
    check: impl Fn(&History, &Command, &Answer) -> Trial,
) -> String {
    let Some(handler) = subject.handler() else { return how };
    let mut last = how;
    let breaks = |events: &[RecordedEvent]| {
        let history = History { entity: history.entity.clone(), events: events.to_vec() };
        let answer = handler.reference(&history, command);
        match check(&history, command, &answer) {
            Trial::Broken(how) => Some(how),
            Trial::Held | Trial::Skipped => None,
        }
    };
    let events = shrink::list(&history.events, |events| match breaks(events) {
        Some(how) => {
            last = how;
            true
        }
        None => false,
    });
    let history = History { entity: history.entity.clone(), events };
    // The rule need not break again.
    let how = breaks(&history.events).unwrap_or(last);
    format!("{}: {how}", on(command, &history))
}

/// A command and its history, in a few words.
fn on(command: &Command, history: &History) -> String {
    let data = short(&command.data);
    let events: Vec<_> = history.events.iter().map(|event| event.event.r#type.as_str()).collect();
    let after = match events.as_slice() {
        [] => String::new(),
        few if few.len() <= 4 => format!(" after {}", few.join(", ")),
        many => format!(" after {} events", many.len()),
    };
    format!("{} {data} on {}{after}", command.r#type, history.entity)
}

/// The beginning of some data, on one line.
fn short(data: &[u8]) -> String {
    const SHOWN: usize = 100;
    let text = String::from_utf8_lossy(data);
    let line: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let line = line.replace("\\\"", "\"");
    if text.chars().count() > SHOWN { format!("{line}… ({} bytes)", data.len()) } else { line }
}

/// Whether a caller cannot tell two answers apart. All faults count as the same, because a fault names its sandbox.
fn same(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// Where two answers differ, the expected one first.
fn differs(expected: &Answer, got: &Answer) -> String {
    if let (Ok(Ok(one)), Ok(Ok(other))) = (expected, got)
        && one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| (&one.r#type, one.version) == (&other.r#type, other.version))
    {
        for (one, other) in one.iter().zip(other) {
            if let Some(place) = place(&one.data, &other.data) {
                return format!("{} {place}", one.r#type);
            }
        }
    }
    if let (Ok(Err(one)), Ok(Err(other))) = (expected, got)
        && one.code == other.code
    {
        return format!(
            "rejection {}: {:?} {:?} → {:?} {:?}",
            one.code, one.message, one.details, other.message, other.details
        );
    }
    format!("{} → {}", shown(expected), shown(got))
}

/// The first place at which two data differ, as a JSON pointer with both values.
fn place(one: &[u8], other: &[u8]) -> Option<String> {
    let (one, other) = (read(one), read(other));
    for (at, value) in crate::json::leaves(&one) {
        match other.pointer(&at) {
            Some(there) if *there == value => {}
            Some(there) => return Some(format!("{at} {value} → {there}")),
            None => return Some(format!("{at} {value} → nothing")),
        }
    }
    (one != other).then(|| format!("{one} → {other}"))
}

fn shown(answer: &Answer) -> String {
    match answer {
        Ok(Ok(events)) if events.is_empty() => "accepted without events".to_owned(),
        Ok(Ok(events)) => {
            let events = events.iter().map(|event| format!("{} {}", event.r#type, short(&event.data)));
            events.collect::<Vec<_>>().join(", ")
        }
        Ok(Err(rejection)) => format!("rejection {}", rejection.code),
        Err(fault) => format!("a fault ({})", fault.what),
    }
}

/// Whether two reactions have the same effects. States that are JSON are compared as JSON.
fn same_reaction(one: &Done, other: &Done) -> bool {
    match (one, other) {
        (Ok(Ok(one)), Ok(Ok(other))) => {
            one.commands == other.commands && one.timers == other.timers && same_state(one, other)
        }
        (Ok(Err(one)), Ok(Err(other))) => one == other,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

fn same_state(one: &Reaction, other: &Reaction) -> bool {
    match (&one.state, &other.state) {
        (Some(one), Some(other)) => one == other || read(one) == read(other),
        (one, other) => one == other,
    }
}

/// Where two reactions differ, the expected one first.
fn differs_in(expected: &Done, got: &Done) -> String {
    if let (Ok(Ok(one)), Ok(Ok(other))) = (expected, got) {
        let types = |reaction: &Reaction| {
            let commands = reaction.commands.iter().map(|c| format!("{} {}", c.r#type, short(&c.data)));
            commands.collect::<Vec<_>>().join(", ")
        };
        if one.commands != other.commands {
            return format!("it sends [{}] → [{}]", types(one), types(other));
        }
        if one.timers != other.timers {
            return format!("its timers {:?} → {:?}", one.timers, other.timers);
        }
        let state =
            |reaction: &Reaction| reaction.state.as_ref().map_or_else(|| "none".to_owned(), |s| short(s));
        return format!("its state {} → {}", state(one), state(other));
    }
    let shown = |done: &Done| match done {
        Ok(Ok(_)) => "a reaction".to_owned(),
        Ok(Err(failure)) => format!("a failure ({})", words(failure)),
        Err(fault) => format!("a fault ({})", fault.what),
    };
    format!("{} → {}", shown(expected), shown(got))
}
