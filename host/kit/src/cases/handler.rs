//! Cases of handlers.

use pelton_core::command::decision;
use pelton_core::command::ports::Isolation;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::case::{Case, Step, Then, When};
use crate::corpus::{Origin, Template};
use crate::guest::{Answer, Handler, History};
use crate::inputs::{self, later, read};
use crate::matcher::differences;

pub(super) fn run(
    case: &Case,
    steps: &[Step],
    handler: &Handler<'_>,
    context: Context<'_>,
) -> Result<Outcome, String> {
    let Context { entity, start, given, used, .. } = context;
    let mut outcome = Outcome::default();
    let mut history =
        History { entity: entity.to_owned(), events: inputs::events(&case.given, entity, start) };
    given.histories.push(history.clone());
    given.streams.push(history.events.clone());
    let mut time = start;
    for (n, step) in steps.iter().enumerate() {
        time = later(time, step.after.map_or_else(Default::default, |after| after.0));
        let command = match &step.when {
            Some(When::Command(command)) => command,
            Some(_) => {
                return Err("a handler has commands only in its steps; events stand in `given`".to_owned());
            }
            None => continue,
        };
        let unreadable =
            step.then.rejection.as_ref().is_some_and(|expected| expected.code == "invalid-command");
        given.commands.push(Template {
            group: 0,
            origin: Origin::Case,
            entity: entity.to_owned(),
            given: command.clone(),
            unreadable,
        });
        if !handler.descriptor().commands.contains(&command.command) {
            let what = format!(
                "its descriptor does not list the command {:?}: the host passes it no such command",
                command.command
            );
            outcome.step(n, steps.len(), vec![what], Vec::new());
            break;
        }
        used.commands.insert(command.command.clone());
        let made = inputs::command(command, entity, time, &format!("case-{n}"))?;
        let answer = handler.decided(Isolation::Alone, &history, &made);
        let declared = match &answer {
            Ok(Ok(events)) => decision::check(events, handler.descriptor()).err(),
            _ => None,
        };
        match &answer {
            Ok(Ok(events)) => {
                used.events.extend(events.iter().map(|event| (event.r#type.clone(), event.version)));
                let stored = inputs::stored(&made, events, &history.events);
                history.events.extend(stored);
            }
            Ok(Err(rejection)) => drop(used.rejections.insert(rejection.code.clone())),
            Err(_) => {}
        }
        let found = declared.map_or_else(|| compare(&answer, &step.then), |what| vec![what]);
        outcome.step(n, steps.len(), found, got(&answer));
        if answer.is_err() {
            break;
        }
    }
    if steps.len() > 1 {
        given.histories.push(history.clone());
        given.streams.push(history.events);
    }
    Ok(outcome)
}

/// The answer, in the form of `then`.
fn got(answer: &Answer) -> Vec<(&'static str, Value)> {
    match answer {
        Ok(Ok(events)) => {
            let events =
                events.iter().map(|event| one(&event.r#type, event.version, Some(read(&event.data))));
            vec![("events", Value::Array(events.collect()))]
        }
        Ok(Err(rejection)) => vec![("rejection", json!(rejection.code))],
        Err(_) => Vec::new(),
    }
}

fn one(r#type: &str, version: u32, data: Option<Value>) -> Value {
    let mut event = json!({ "event": r#type });
    if version != 1 {
        event["version"] = json!(version);
    }
    if let Some(data) = data {
        event["data"] = data;
    }
    event
}

/// An answer on one line.
pub(crate) fn shown(answer: &Answer) -> String {
    match answer {
        Ok(Ok(events)) if events.is_empty() => "accepted without events".to_owned(),
        Ok(Ok(events)) => {
            let events = events.iter().map(|event| format!("{} {}", event.r#type, read(&event.data)));
            events.collect::<Vec<_>>().join(", ")
        }
        Ok(Err(rejection)) => format!("rejection {}", rejection.code),
        Err(fault) => format!("a fault: {}", fault.what),
    }
}

fn compare(answer: &Answer, then: &Then) -> Vec<String> {
    let expected_events = then.events.is_some();
    match (answer, &then.rejection) {
        (Err(fault), _) => vec![format!("it broke: {}", fault.what)],
        (Ok(Err(rejection)), Some(expected)) if expected.code == rejection.code => {
            let mut found = Vec::new();
            if let Some(message) = &expected.message {
                found.extend(differences("/rejection/message", message, &json!(rejection.message)));
            }
            if let Some(details) = &expected.details {
                let got: serde_json::Map<String, Value> =
                    rejection.details.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                found.extend(differences("/rejection/details", &json!(details), &Value::Object(got)));
            }
            found
        }
        (Ok(Err(rejection)), expected) => {
            let expected = expected.as_ref().map_or("events", |expected| expected.code.as_str());
            vec![format!("/rejection: expected {expected}, got {}: {}", rejection.code, rejection.message)]
        }
        (Ok(Ok(_)), Some(expected)) => {
            vec![format!("/rejection: expected {}, got {}", expected.code, shown(answer))]
        }
        (Ok(Ok(events)), None) if expected_events => {
            let expected = then.events.as_deref().unwrap_or_default();
            let wants_data = |n: usize| expected.get(n).is_none_or(|expected| expected.data.is_some());
            let got: Vec<Value> = events
                .iter()
                .enumerate()
                .map(|(n, e)| one(&e.r#type, e.version, wants_data(n).then(|| read(&e.data))))
                .collect();
            let expected: Vec<Value> =
                expected.iter().map(|e| one(&e.event, e.version, e.data.clone())).collect();
            differences("/events", &json!(expected), &json!(got))
        }
        (Ok(Ok(_)), None) => Vec::new(),
    }
}
