//! A handler answers every command, whatever a client sends.

use std::time::Duration;

use bytes::Bytes;
use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_COMMANDS, NO_HANDLER, failed, not_applicable, passed, short};
use crate::corpus::decisions::command_on;
use crate::corpus::{Decision, Template};
use crate::guest::{Handler, History};
use crate::hostile;
use crate::inputs::{self, START};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-13",
    name: "decide-hostile",
    level: Level::Required,
    asserts: "a command with any data and any attributes is decided or rejected, with a declared code, within the limits, and traps nothing",
    why: "a client's mistake would become a dead letter, and cost the entity's neighbours a load",
    mend: "reject what cannot be read; do not index, unwrap, divide by, loop over or make room for what a client sends without a look",
    after: &["AL-02", "CH-01"],
    test,
};

/// The most histories among which those are chosen on which the data are tried.
const MOST_HISTORIES: usize = 100;
/// How many accepted commands of one type are followed further.
const FOLLOWED: usize = 16;
/// How often such a command is decided and folded.
const AGAIN: usize = 12;
/// How many other commands are decided afterwards.
const OTHERS: usize = 40;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let mut random = subject.random();
    let most = subject.suite.effort.hostile;
    let mut tried = 0;
    for r#type in &handler.descriptor().commands {
        let of_type: Vec<&Template> =
            subject.corpus.templates.iter().filter(|template| template.given.command == *r#type).collect();
        let entity =
            of_type.first().or(subject.corpus.templates.first().as_ref()).map_or("1", |t| t.entity.as_str());
        let data: Vec<Bytes> = of_type.iter().map(|template| inputs::bytes(&template.given.data)).collect();
        let Ok(like) = inputs::command_of(r#type, Bytes::from_static(b"{}"), entity, START, "hostile") else {
            continue;
        };
        let histories = histories(subject, r#type, entity);
        for (n, history) in histories.iter().enumerate() {
            // The first history gets all data: the command is accepted there, if anywhere. The others get fewer.
            let mut followed = 0;
            for data in hostile::data(&data, &mut random, if n == 0 { most } else { most / 8 }) {
                let command = Command { data, ..like.clone() };
                match outcome(&handler, history, &command) {
                    Err(how) => return failed(how),
                    Ok(accepted) if accepted && followed < FOLLOWED => {
                        followed += 1;
                        if let Some(how) = breaks_later(subject, &handler, history, &command) {
                            return failed(how);
                        }
                    }
                    Ok(_) => {}
                }
                tried += 1;
            }
            for command in
                attributes(&Command { data: data.first().cloned().unwrap_or_default(), ..like.clone() })
            {
                if let Err(how) = outcome(&handler, history, &command) {
                    return failed(format!("with other attributes, {how}"));
                }
                tried += 1;
            }
        }
    }
    passed(tried, "commands", NO_COMMANDS)
}

/// Histories on which the command is accepted, then others.
fn histories(subject: &Subject<'_>, r#type: &str, entity: &str) -> Vec<History> {
    let of_type = |accepted: bool| {
        subject
            .corpus
            .decisions
            .iter()
            .filter(move |d| {
                d.command.r#type.as_str() == r#type
                    && accepted == matches!(&d.answer, Ok(Ok(e)) if !e.is_empty())
            })
            .map(|Decision { history, .. }| history.clone())
    };
    // The first one, and the one in which the most has happened.
    let ends = |mut all: Vec<History>| {
        all.truncate(MOST_HISTORIES);
        let longest = all.iter().max_by_key(|history| history.events.len()).cloned();
        all.into_iter().take(1).chain(longest).collect::<Vec<_>>()
    };
    let mut all = ends(of_type(true).collect());
    all.extend(ends(of_type(false).collect()));
    if all.is_empty() {
        all.push(History { entity: entity.to_owned(), events: Vec::new() });
    }
    all
}

/// Whether the command is accepted with events; the error says how it breaks.
fn outcome(handler: &Handler<'_>, history: &History, command: &Command) -> Result<bool, String> {
    let what = match handler.decided(Isolation::Shared, history, command) {
        Ok(Ok(events)) => match decision::check(&events, handler.descriptor()) {
            Ok(()) => return Ok(!events.is_empty()),
            Err(what) => what,
        },
        Ok(Err(_)) => return Ok(false),
        Err(fault) => fault.what,
    };
    Err(format!("{} with the data {}: {what}", command.r#type, short(&command.data)))
}

/// How the entity breaks later, once it has folded what a client could have it accept, again and again.
fn breaks_later(
    subject: &Subject<'_>,
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
) -> Option<String> {
    let with = format!("{} with the data {}", command.r#type, short(&command.data));
    let mut events = history.events.clone();
    let mut entity = handler.folded(Isolation::Alone, history).ok()?;
    for n in 0..AGAIN {
        let decided = match entity.decide(command) {
            Ok(Ok(decided)) => decided,
            Ok(Err(_)) => break,
            Err(fault) => return Some(format!("{with}, accepted {n} times before: {}", fault.what)),
        };
        if let Err(what) = decision::check(&decided, handler.descriptor()) {
            return Some(format!("{with}, accepted {n} times before: {what}"));
        }
        if decided.is_empty() {
            break;
        }
        let stored = inputs::stored(command, &decided, &events);
        if let Err(fault) = entity.evolve(&stored) {
            return Some(format!(
                "{with}: it does not fold its own event the {}th time: {}",
                n + 1,
                fault.what
            ));
        }
        events.extend(stored);
    }
    let others = subject.corpus.templates.iter().filter(|template| !template.unreadable).take(OTHERS);
    for (n, template) in others.enumerate() {
        let Some(other) = command_on(template, history, Duration::from_secs(1), &format!("later-{n}")) else {
            continue;
        };
        match entity.decide(&other) {
            Err(fault) => return Some(format!("{} after {with}: {}", other.r#type, fault.what)),
            Ok(Ok(decided)) => {
                if let Err(what) = decision::check(&decided, handler.descriptor()) {
                    return Some(format!("{} after {with}: {what}", other.r#type));
                }
            }
            Ok(Err(_)) => {}
        }
    }
    match entity.snapshot() {
        Err(fault) => Some(format!("a snapshot after {with}: {}", fault.what)),
        Ok(_) => None,
    }
}

/// The command with attributes left out, or strange.
fn attributes(command: &Command) -> Vec<Command> {
    let text = |text: &str| Some(text.to_owned());
    let strange = [
        ("x", String::new()),
        ("tenant", "\u{202e}🚰".repeat(50)),
        ("with-hyphens", "1".to_owned()),
        ("averylongnameofmorethan20characters", "1".to_owned()),
    ];
    let strange = strange.map(|(name, value)| (name.to_owned(), value)).to_vec();
    vec![
        Command { datacontenttype: None, ..command.clone() },
        Command { datacontenttype: text("text/plain; charset=latin1"), ..command.clone() },
        Command { causation_id: text("c:0"), principal: text("somebody"), ..command.clone() },
        Command { metadata: strange.clone(), context: strange, ..command.clone() },
        Command { time: pelton_core::time::Timestamp(0), ..command.clone() },
        Command { time: pelton_core::time::Timestamp(u64::MAX), ..command.clone() },
    ]
}
