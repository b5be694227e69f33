//! A handler answers every command, whatever a client sends.

use bytes::Bytes;
use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_COMMANDS, NO_HANDLER, failed, not_applicable, passed, short};
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

/// How many histories the data are tried on.
const HISTORIES: usize = 4;

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
            for data in hostile::data(&data, &mut random, if n == 0 { most } else { most / 8 }) {
                let command = Command { data, ..like.clone() };
                if let Some(how) = breaks(&handler, history, &command) {
                    return failed(how);
                }
                tried += 1;
            }
            for command in
                attributes(&Command { data: data.first().cloned().unwrap_or_default(), ..like.clone() })
            {
                if let Some(how) = breaks(&handler, history, &command) {
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
    let mut all: Vec<History> = of_type(true).take(HISTORIES / 2).collect();
    all.extend(of_type(false).take(HISTORIES / 2));
    if all.is_empty() {
        all.push(History { entity: entity.to_owned(), events: Vec::new() });
    }
    all
}

fn breaks(handler: &Handler<'_>, history: &History, command: &Command) -> Option<String> {
    let what = match handler.decided(Isolation::Shared, history, command) {
        Ok(Ok(events)) => decision::check(&events, handler.descriptor()).err()?,
        Ok(Err(_)) => return None,
        Err(fault) => fault.what,
    };
    Some(format!("{} with the data {}: {what}", command.r#type, short(&command.data)))
}

/// The command with attributes left out, or strange.
fn attributes(command: &Command) -> Vec<Command> {
    let text = |text: &str| Some(text.to_owned());
    let strange = vec![("x".to_owned(), String::new()), ("tenant".to_owned(), "\u{202e}🚰".repeat(50))];
    vec![
        Command { datacontenttype: None, ..command.clone() },
        Command { datacontenttype: text("text/plain; charset=latin1"), ..command.clone() },
        Command { causation_id: text("c:0"), principal: text("somebody"), ..command.clone() },
        Command { metadata: strange.clone(), context: strange, ..command.clone() },
        Command { time: pelton_core::time::Timestamp(0), ..command.clone() },
        Command { time: pelton_core::time::Timestamp(u64::MAX), ..command.clone() },
    ]
}
