//! A saga's instances in memory, driven as the host drives them, but without its clock.

use std::collections::{BTreeMap, BTreeSet};

use pelton_core::contract::MAX_INSTANCE_BYTES;
use pelton_core::id::InstanceId;
use pelton_core::message::{Failure, Metadata, NewCommand, RecordedEvent, Rejection};
use pelton_core::plugin::PluginFault;
use pelton_core::saga::model::{
    CommandOutcome, CommandResult, DueTimer, InputContext, Reaction, Relation, SagaInput, Timer, TimerChange,
};
use pelton_core::saga::ports::SagaDescriptor;
use pelton_core::time::Timestamp;

use crate::guest::{Saga, words};

/// An instance's answer to an input.
pub(crate) type Done = Result<Result<Reaction, Failure>, PluginFault>;

/// An instance's input, with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Reacted {
    pub(crate) instance: String,
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) input: SagaInput,
    pub(crate) context: InputContext,
    pub(crate) reaction: Done,
}

impl Reacted {
    /// Reacts to the same input again.
    pub(crate) fn again(&self, saga: &Saga<'_>) -> Done {
        saga.react(&self.instance, self.state.as_deref(), &self.input, &self.context)
    }

    /// The timers that the reaction sets.
    pub(crate) fn set(&self) -> impl Iterator<Item = &Timer> {
        let changes = self.reaction.iter().flatten().flat_map(|reaction| &reaction.timers);
        changes.filter_map(|change| match change {
            TimerChange::Set(timer) => Some(timer),
            TimerChange::Cancel(_) => None,
        })
    }

    /// The input in a few words.
    pub(crate) fn shown(&self) -> String {
        match &self.input {
            SagaInput::Event(event) => format!("{} at {}", event.event.r#type, self.instance),
            SagaInput::Timer(due) => format!("the timer {} at {}", due.timer.r#type, self.instance),
            SagaInput::Outcome(outcome) => format!("the outcome of {} at {}", outcome.r#type, self.instance),
        }
    }
}

/// A command that an instance has sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) instance: String,
    pub(crate) id: String,
    pub(crate) command: NewCommand,
}

/// An instance that exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instance {
    pub(crate) state: Vec<u8>,
    pub(crate) timers: BTreeMap<String, Timer>,
}

/// The instances of a saga.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) instances: BTreeMap<String, Instance>,
    ended: BTreeSet<String>,
    /// The commands that were sent, in order.
    pub(crate) sent: Vec<Sent>,
    inputs: u64,
}

impl World {
    /// Hands over an event of the stream. Returns the reaction of each instance.
    ///
    /// # Errors
    ///
    /// `correlate` fails, or its answer is wrong.
    pub(crate) fn event(&mut self, saga: &Saga<'_>, event: &RecordedEvent) -> Result<Vec<Reacted>, String> {
        if !event.event.is_of(&saga.descriptor().events) {
            return Ok(Vec::new());
        }
        let concerned = saga.correlate(event).map_err(|fault| format!("correlate: {}", fault.what))?;
        let concerned = concerned.map_err(|failure| format!("correlate: {}", words(&failure)))?;
        let mut all = Vec::new();
        for concern in concerned {
            check_instance(&concern.instance)?;
            let starts = match concern.relation {
                Relation::Start => true,
                Relation::StartOnce => !self.ended.contains(&concern.instance),
                Relation::Advance => false,
            };
            if starts || self.instances.contains_key(&concern.instance) {
                let context = InputContext::of_event(event);
                all.push(self.input(saga, &concern.instance, SagaInput::Event(event.clone()), context));
            }
        }
        Ok(all)
    }

    /// A timer that is set goes off at this time, or when it is due if that is later.
    pub(crate) fn timer(
        &mut self,
        saga: &Saga<'_>,
        instance: &str,
        id: &str,
        time: Timestamp,
    ) -> Option<Reacted> {
        let timer = self.instances.get_mut(instance)?.timers.remove(id)?;
        let time = time.max(timer.due);
        let context = self.context(time);
        Some(self.input(saga, instance, SagaInput::Timer(DueTimer { timer, time }), context))
    }

    /// A command that was sent has ended.
    pub(crate) fn outcome(
        &mut self,
        saga: &Saga<'_>,
        sent: &Sent,
        result: CommandResult,
        time: Timestamp,
    ) -> Option<Reacted> {
        if !self.instances.contains_key(&sent.instance) {
            return None;
        }
        let outcome = CommandOutcome {
            command_id: sent.id.clone(),
            r#type: sent.command.r#type.clone(),
            reference: sent.command.reference.clone(),
            time,
            result,
        };
        let context = self.context(time);
        Some(self.input(saga, &sent.instance, SagaInput::Outcome(outcome), context))
    }

    /// All timers that are set, with the instances that set them, in the order in which they are due.
    pub(crate) fn timers(&self) -> Vec<(String, Timer)> {
        let all = self.instances.iter().flat_map(|(instance, of)| {
            of.timers.values().map(move |timer| (instance.clone(), timer.clone()))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|(_, one), (_, other)| (one.due, &one.id).cmp(&(other.due, &other.id)));
        all
    }

    fn context(&self, time: Timestamp) -> InputContext {
        InputContext {
            input_id: format!("input-{}", self.inputs),
            time,
            correlation_id: "case".to_owned(),
            metadata: Metadata::new(),
        }
    }

    fn input(&mut self, saga: &Saga<'_>, instance: &str, input: SagaInput, context: InputContext) -> Reacted {
        self.inputs += 1;
        let state = self.instances.get(instance).map(|instance| instance.state.clone());
        let reaction = saga.react(instance, state.as_deref(), &input, &context);
        let reacted = Reacted { instance: instance.to_owned(), state, input, context, reaction };
        if let Ok(Ok(reaction)) = &reacted.reaction {
            self.apply(instance, reaction);
        }
        reacted
    }

    fn apply(&mut self, instance: &str, reaction: &Reaction) {
        for (n, command) in reaction.commands.iter().enumerate() {
            let id = format!("{instance}-{}-{n}", self.inputs);
            self.sent.push(Sent { instance: instance.to_owned(), id, command: command.clone() });
        }
        let Some(state) = &reaction.state else {
            self.instances.remove(instance);
            self.ended.insert(instance.to_owned());
            return;
        };
        let kept = self.instances.entry(instance.to_owned()).or_default();
        kept.state.clone_from(state);
        for change in &reaction.timers {
            match change {
                TimerChange::Set(timer) => drop(kept.timers.insert(timer.id.clone(), timer.clone())),
                TimerChange::Cancel(id) => drop(kept.timers.remove(id)),
            }
        }
    }
}

/// Checks that the host can store an instance of this id. The error says what is wrong.
pub(crate) fn check_instance(instance: &str) -> Result<(), String> {
    let id = InstanceId::new(instance).map_err(|error| format!("the instance id {instance:?} {error}"))?;
    match id.as_str().len() {
        bytes if bytes > MAX_INSTANCE_BYTES => Err(format!(
            "the instance id {instance:?} has {bytes} bytes; at most {MAX_INSTANCE_BYTES} are allowed"
        )),
        _ => Ok(()),
    }
}

/// Whether the host passes the saga the outcomes of its commands.
pub(crate) fn takes_outcomes(descriptor: &SagaDescriptor) -> bool {
    descriptor.takes_outcomes
}

/// Results for every way in which a command may end.
pub(crate) fn results() -> Vec<CommandResult> {
    let rejected = |code: &str, details: Vec<(String, String)>| {
        CommandResult::Rejected(Rejection { code: code.to_owned(), message: "a rule".to_owned(), details })
    };
    vec![
        CommandResult::Accepted(vec!["event:0".to_owned()]),
        CommandResult::Accepted(Vec::new()),
        rejected("unknown-code", Vec::new()),
        // A code has 1 to 64 characters.
        rejected("x", Vec::new()),
        rejected("invalid-command", vec![("why".to_owned(), "\u{0}\u{202e}".to_owned())]),
        CommandResult::SetAside("it was set aside".to_owned()),
        CommandResult::Failed("it was given up".to_owned()),
    ]
}
