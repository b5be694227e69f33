//! Cases of sagas.

use std::time::Duration;

use pelton_core::message::{RecordedEvent, Rejection};
use pelton_core::saga::model::{CommandResult, Reaction, TimerChange};
use pelton_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{Context, Outcome, Used};
use crate::case::{Ended, ExpectedTimer, GivenEvent, GivenOutcome, Step, Then, When};
use crate::guest::{Saga, words};
use crate::inputs::{self, later, read};
use crate::matcher::differences;
use crate::saga::{Reacted, World};

pub(super) fn run(
    steps: &[Step],
    given: &[GivenEvent],
    saga: &Saga<'_>,
    context: Context<'_>,
) -> Result<Outcome, String> {
    let Context { entity, start, given: all, used, .. } = context;
    let mut life = Life { saga, world: World::default(), now: start, did: Vec::new(), wrong: Vec::new() };
    let mut stream = inputs::events(given, entity, start);
    for event in &stream {
        life.event(event);
    }
    let mut outcome = Outcome::default();
    for (n, step) in steps.iter().enumerate() {
        // Reactions to given events do not belong to the first step, unless it has neither an input nor a wait.
        if n > 0 || step.when.is_some() || step.after.is_some() {
            life.use_up(used);
        }
        life.pass(step.after.map_or_else(Default::default, |after| after.0));
        match &step.when {
            Some(When::Event(event)) => {
                let event = inputs::event(event, entity, life.now, stream.len() as u64 + 1);
                life.event(&event);
                stream.push(event);
            }
            Some(When::Timer(timer)) => life.timer(&timer.timer)?,
            Some(When::Outcome(given)) => life.outcome(given)?,
            Some(When::Command(_)) => return Err("a saga takes no commands".to_owned()),
            None => {}
        }
        let (found, got) = life.compare(&step.then);
        outcome.step(n, steps.len(), found, got);
    }
    life.use_up(used);
    used.events.extend(
        stream
            .iter()
            .filter(|event| event.event.is_of(&saga.descriptor().events))
            .map(|event| (event.event.r#type.clone(), event.event.version)),
    );
    all.streams.push(stream);
    Ok(outcome)
}

struct Life<'a> {
    saga: &'a Saga<'a>,
    world: World,
    now: Timestamp,
    /// The reactions of this step.
    did: Vec<Reaction>,
    /// The errors of this step.
    wrong: Vec<String>,
}

impl Life<'_> {
    fn event(&mut self, event: &RecordedEvent) {
        match self.world.event(self.saga, event) {
            Ok(reacted) => self.took(reacted),
            Err(what) => self.wrong.push(what),
        }
    }

    fn took(&mut self, reacted: impl IntoIterator<Item = Reacted>) {
        for reacted in reacted {
            let shown = reacted.shown();
            match reacted.reaction {
                Ok(Ok(reaction)) => {
                    if let Some(what) = undeclared(self.saga, &reaction) {
                        self.wrong.push(format!("{shown}: {what}"));
                    }
                    self.did.push(reaction);
                }
                Ok(Err(failure)) => self.wrong.push(format!("{shown}: react: {}", words(&failure))),
                Err(fault) => self.wrong.push(format!("{shown}: react: {}", fault.what)),
            }
        }
    }

    /// Lets time pass. Timers that become due go off.
    fn pass(&mut self, by: Duration) {
        let until = later(self.now, by);
        if by.is_zero() {
            return;
        }
        // The reaction to a timer may set another one that is due, too.
        while let Some((instance, timer)) =
            self.world.timers().into_iter().find(|(_, timer)| timer.due <= until)
        {
            self.now = self.now.max(timer.due);
            let reacted = self.world.timer(self.saga, &instance, &timer.id, self.now);
            self.took(reacted);
        }
        self.now = until;
    }

    fn timer(&mut self, name: &str) -> Result<(), String> {
        let set = self.world.timers();
        let found = set.iter().find(|(_, timer)| timer.id == name || timer.r#type == name);
        let Some((instance, timer)) = found else {
            let names: Vec<_> = set.iter().map(|(_, timer)| timer.r#type.as_str()).collect();
            return Err(format!("no timer {name:?} is set; set are {names:?}"));
        };
        self.now = self.now.max(timer.due);
        let reacted = self.world.timer(self.saga, instance, &timer.id, self.now);
        self.took(reacted);
        Ok(())
    }

    fn outcome(&mut self, given: &GivenOutcome) -> Result<(), String> {
        let name = Some(given.outcome.as_str());
        let is_it = |sent: &&crate::saga::Sent| {
            sent.command.reference.as_deref() == name || Some(sent.command.r#type.as_str()) == name
        };
        let Some(sent) = self.world.sent.iter().rev().find(is_it).cloned() else {
            let types: Vec<_> = self.world.sent.iter().map(|sent| sent.command.r#type.as_str()).collect();
            return Err(format!("no command {:?} was sent; sent were {types:?}", given.outcome));
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let message = given.message.clone().unwrap_or_default();
        let result = match given.result {
            Ended::Accepted => CommandResult::Accepted(vec![format!("{}:0", sent.id)]),
            Ended::Rejected => CommandResult::Rejected(Rejection {
                code: given.code.clone().ok_or("an outcome that is rejected has a `code`")?,
                message,
                details: given.details.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            }),
            Ended::SetAside => CommandResult::SetAside(message),
            Ended::Failed => CommandResult::Failed(message),
        };
        let reacted = self.world.outcome(self.saga, &sent, result, self.now);
        self.took(reacted);
        Ok(())
    }

    /// Counts the commands and timers of the reactions as used, and clears the reactions.
    fn use_up(&mut self, used: &mut Used) {
        for reaction in self.did.drain(..) {
            used.commands.extend(reaction.commands.into_iter().map(|command| command.r#type));
            used.timers.extend(reaction.timers.into_iter().filter_map(|change| match change {
                TimerChange::Set(timer) => Some(timer.r#type),
                TimerChange::Cancel(_) => None,
            }));
        }
    }

    fn compare(&mut self, then: &Then) -> (Vec<String>, Vec<(&'static str, Value)>) {
        let mut found = std::mem::take(&mut self.wrong);
        let mut got = Vec::new();
        let sent: Vec<_> = self.did.iter().flat_map(|reaction| &reaction.commands).collect();
        let expected = then.commands.as_deref();
        let commands: Vec<Value> = sent
            .iter()
            .enumerate()
            .map(|(n, command)| {
                let wanted = expected.map(|expected| expected.get(n));
                let reference = wanted.is_none_or(|wanted| wanted.is_none_or(|w| w.reference.is_some()));
                let data = wanted.is_none_or(|wanted| wanted.is_none_or(|w| w.data.is_some()));
                one(
                    "command",
                    &command.r#type,
                    [
                        ("reference", command.reference.as_ref().filter(|_| reference).map(|r| json!(r))),
                        ("data", data.then(|| read(&command.data))),
                    ],
                )
            })
            .collect();
        if let Some(expected) = expected {
            let expected: Vec<Value> = expected
                .iter()
                .map(|e| {
                    let reference = e.reference.as_ref().map(|r| json!(r));
                    one("command", &e.command, [("reference", reference), ("data", e.data.clone())])
                })
                .collect();
            found.extend(differences("/commands", &json!(expected), &json!(commands)));
        }
        got.push(("commands", Value::Array(commands)));
        if let Some(expected) = &then.timers {
            let (expected, timers) = self.timers(expected);
            found.extend(differences("/timers", &expected, &timers));
            got.push(("timers", timers));
        }
        if let Some(expected) = &then.instances {
            let instances: Map<String, Value> = self
                .world
                .instances
                .iter()
                .map(|(id, instance)| (id.clone(), read(&instance.state)))
                .collect();
            found.extend(differences("/instances", &json!(expected), &json!(instances)));
            got.push(("instances", Value::Object(instances)));
        }
        (found, got)
    }

    /// The expected timers and the set ones, in one form.
    fn timers(&self, expected: &[ExpectedTimer]) -> (Value, Value) {
        let mut set = self.world.timers();
        set.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        let got: Vec<Value> = set
            .iter()
            .enumerate()
            .map(|(n, (_, timer))| {
                let wanted = expected.get(n);
                let wants = |is: fn(&ExpectedTimer) -> bool| wanted.is_none_or(is);
                one(
                    "timer",
                    &timer.r#type,
                    [
                        ("id", wants(|w| w.id.is_some()).then(|| json!(timer.id))),
                        (
                            "at",
                            wants(|w| w.at.is_some() || w.due_in.is_some())
                                .then(|| json!(timer.due.to_string())),
                        ),
                        ("data", wants(|w| w.data.is_some()).then(|| read(&timer.data))),
                    ],
                )
            })
            .collect();
        let expected: Vec<Value> = expected
            .iter()
            .map(|e| {
                let at = e.at.or(e.due_in.map(|due| later(self.now, due.0)));
                one(
                    "timer",
                    &e.timer,
                    [
                        ("id", e.id.as_ref().map(|id| json!(id))),
                        ("at", at.map(|at| json!(at.to_string()))),
                        ("data", e.data.clone()),
                    ],
                )
            })
            .collect();
        (Value::Array(expected), Value::Array(got))
    }
}

fn one<const N: usize>(key: &str, r#type: &str, more: [(&str, Option<Value>); N]) -> Value {
    let mut value = json!({ key: r#type });
    for (name, more) in more {
        if let Some(more) = more {
            value[name] = more;
        }
    }
    value
}

/// The first command or timer of a reaction that the descriptor does not list.
pub(crate) fn undeclared(saga: &Saga<'_>, reaction: &Reaction) -> Option<String> {
    let descriptor = saga.descriptor();
    let command = reaction.commands.iter().find(|command| !descriptor.commands.contains(&command.r#type));
    if let Some(command) = command {
        return Some(format!(
            "it sends the command {:?}, which its descriptor does not list",
            command.r#type
        ));
    }
    let set = reaction.timers.iter().find_map(|change| match change {
        TimerChange::Set(timer) if !descriptor.timers.contains(&timer.r#type) => Some(&timer.r#type),
        _ => None,
    });
    set.map(|r#type| format!("it sets the timer {type:?}, which its descriptor does not list"))
}
