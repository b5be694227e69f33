//! Replays the commands of handlers, entity by entity.

use std::collections::HashMap;

use pelton_core::command::outcome::MarkOutcome;
use pelton_core::command::ports::Isolation;
use pelton_core::message::{RecordedEvent, Rejection};
use pelton_core::plugin::PluginFault;
use pelton_core::subject::Entity;
use serde_json::{Value, json};

use super::{Difference, Replayed};
use crate::cases::shown;
use crate::guest::{self, Answer, Handler};
use crate::inputs::read;
use crate::recording::{Entry, Recorded, Recording};

pub(super) fn replay(
    new: &Handler<'_>,
    old: Option<&Handler<'_>>,
    recording: &Recording,
    replayed: &mut Replayed,
) {
    let mut order: Vec<&Entity> = Vec::new();
    let mut entities: HashMap<&Entity, Vec<&Entry>> = HashMap::new();
    for entry in &recording.entries {
        let Some(entity) = &entry.entity else { continue };
        entities.entry(entity).or_insert_with(|| {
            order.push(entity);
            Vec::new()
        });
        entities.entry(entity).and_modify(|entries| entries.push(entry));
    }
    for entity in order {
        let turns = turns(&entities[entity]);
        // An entity without such a command belongs to another handler of the stream.
        let is_its = |turn: &Turn<'_>| {
            turn.command(recording)
                .is_some_and(|command| new.descriptor().commands.contains(&command.r#type.to_string()))
        };
        if turns.iter().any(is_its) {
            Replaying { new, old, recording, replayed }.entity(entity, &turns);
        }
    }
}

/// The end of a command, or events that no command led to.
struct Turn<'a> {
    first: &'a Entry,
    events: Vec<RecordedEvent>,
    end: End,
}

/// How a command ended.
#[derive(Clone)]
enum End {
    Accepted,
    Rejected(String),
    Failed,
}

impl Turn<'_> {
    fn command<'r>(&self, recording: &'r Recording) -> Option<&'r pelton_core::message::Command> {
        recording.commands.get(&self.first.cause.as_ref()?.command)
    }
}

/// An entity's messages, grouped by command.
fn turns<'a>(entries: &[&'a Entry]) -> Vec<Turn<'a>> {
    let mut turns: Vec<Turn<'a>> = Vec::new();
    for entry in entries {
        let is_of_last = turns.last().is_some_and(|last| {
            let (one, other) = (last.first.cause.as_ref(), entry.cause.as_ref());
            one.zip(other).is_some_and(|(one, other)| one.command == other.command)
        });
        match (&entry.what, turns.last_mut()) {
            (Recorded::Event(event), Some(last)) if is_of_last && matches!(last.end, End::Accepted) => {
                last.events.push(RecordedEvent::clone(event));
            }
            (Recorded::Event(event), _) => {
                turns.push(Turn {
                    first: entry,
                    events: vec![RecordedEvent::clone(event)],
                    end: End::Accepted,
                });
            }
            // If a command's dead letter was retried, its mark lies behind its events.
            (Recorded::Mark(_), Some(last)) if is_of_last && !last.events.is_empty() => {}
            (Recorded::Mark(mark), _) => {
                let end = match &mark.outcome {
                    MarkOutcome::Accepted { .. } => End::Accepted,
                    MarkOutcome::Rejected { rejection } => End::Rejected(rejection.code.clone()),
                    MarkOutcome::Failed { .. } => End::Failed,
                };
                turns.push(Turn { first: entry, events: Vec::new(), end });
            }
        }
    }
    turns
}

struct Replaying<'a> {
    new: &'a Handler<'a>,
    old: Option<&'a Handler<'a>>,
    recording: &'a Recording,
    replayed: &'a mut Replayed,
}

impl Replaying<'_> {
    fn entity(&mut self, entity: &Entity, turns: &[Turn<'_>]) {
        let (mut new, mut old) = (Live::new(self.new, entity), self.old.map(|old| Live::new(old, entity)));
        for turn in turns {
            if let Err(difference) = self.turn(entity, turn, &mut new, old.as_mut()) {
                self.replayed.differs(|| difference);
                return;
            }
            new.events.extend_from_slice(&turn.events);
            if let Some(old) = &mut old {
                old.events.extend_from_slice(&turn.events);
            }
        }
        if let Err(fault) = new.entity() {
            let place = entity.prefix().to_owned();
            self.replayed.differs(|| unfolded(place, &fault));
        }
    }

    /// Replays one turn. Fails if the entity cannot be folded: then no later turn can be compared.
    fn turn(
        &mut self,
        entity: &Entity,
        turn: &Turn<'_>,
        new: &mut Live<'_>,
        old: Option<&mut Live<'_>>,
    ) -> Result<(), Difference> {
        let is_hosts = matches!(&turn.end, End::Rejected(code) if Rejection::is_of_host(code));
        let Some(command) = turn.command(self.recording).filter(|_| !is_hosts) else {
            self.replayed.without_command += 1;
            return Ok(());
        };
        let place = format!("{} #{}", entity.prefix(), turn.first.sequence);
        if let Err(fault) = new.entity() {
            return Err(unfolded(place, &fault));
        }
        let answer = new.decide(command);
        if matches!(turn.end, End::Failed) {
            self.replayed.decided_now += usize::from(answer.is_ok());
            return Ok(());
        }
        if is_as_recorded(&answer, turn) {
            self.replayed.same();
            return Ok(());
        }
        if let Some(old) = old
            && !is_as_recorded(&old.decide(command), turn)
        {
            self.replayed.not_comparable += 1;
            return Ok(());
        }
        self.replayed.differs(|| Difference {
            place,
            what: format!("{} {}", command.r#type, command.id),
            expected: recorded(turn),
            got: shown(&answer),
        });
        Ok(())
    }
}

fn unfolded(place: String, fault: &PluginFault) -> Difference {
    Difference {
        place,
        what: "the events before it".to_owned(),
        expected: "a state".to_owned(),
        got: format!("a fault: {}", fault.what),
    }
}

/// An entity in a sandbox. It is made again after a fault.
struct Live<'a> {
    handler: &'a Handler<'a>,
    id: &'a str,
    /// The entity's events. The instance has folded the first `folded` of them.
    events: Vec<RecordedEvent>,
    folded: usize,
    instance: Option<guest::Entity<'a>>,
}

impl<'a> Live<'a> {
    fn new(handler: &'a Handler<'a>, entity: &'a Entity) -> Self {
        Self { handler, id: entity.id(), events: Vec::new(), folded: 0, instance: None }
    }

    /// The instance, after it has folded all events.
    fn entity(&mut self) -> Result<&mut guest::Entity<'a>, PluginFault> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                self.folded = 0;
                self.handler.create(self.id, Isolation::Shared)?
            }
        };
        instance.evolve(&self.events[self.folded..])?;
        self.folded = self.events.len();
        Ok(self.instance.insert(instance))
    }

    fn decide(&mut self, command: &pelton_core::message::Command) -> Answer {
        let answer = self.entity()?.decide(command);
        if answer.is_err() {
            self.instance = None;
        }
        answer
    }
}

fn is_as_recorded(answer: &Answer, turn: &Turn<'_>) -> bool {
    match (answer, &turn.end) {
        (Ok(Ok(events)), End::Accepted) => {
            events.len() == turn.events.len()
                && events.iter().zip(&turn.events).all(|(new, recorded)| {
                    let recorded = &recorded.event;
                    (&new.r#type, new.version) == (&recorded.r#type, recorded.version)
                        && (new.data == recorded.data || read(&new.data) == read(&recorded.data))
                })
        }
        (Ok(Err(rejection)), End::Rejected(code)) => rejection.code == *code,
        _ => false,
    }
}

fn recorded(turn: &Turn<'_>) -> String {
    match &turn.end {
        End::Accepted if turn.events.is_empty() => "accepted without events".to_owned(),
        End::Accepted => {
            let one = |event: &RecordedEvent| {
                let data: Value = read(&event.event.data);
                format!("{} {}", event.event.r#type, json!(data))
            };
            turn.events.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        End::Rejected(code) => format!("rejection {code}"),
        End::Failed => "a failure".to_owned(),
    }
}
