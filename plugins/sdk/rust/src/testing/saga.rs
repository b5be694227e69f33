//! Given events, when an input, then commands, timers and states.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Serialize;

use super::{Stream, json, text};
use crate::bindings::saga::exports::pelton::plugin::saga as exports;
use crate::bindings::types;
use crate::export::{correlate, describe_saga, react, to_wire};
use crate::{CommandResult, Failure, Saga, Timestamp};

/// Adds `given` to every [`Saga`].
pub trait TestSaga: Saga {
    /// The instances after these events, which may be of any enum whose variants are event types: the saga's own, or
    /// those of the handlers that emit them.
    fn given<E: Serialize>(events: impl IntoIterator<Item = E>) -> SagaAfter<Self> {
        let after = SagaAfter {
            stream: Stream::default(),
            instances: BTreeMap::new(),
            sent: Vec::new(),
            failure: None,
            saga: PhantomData,
        };
        after.when(events)
    }
}

impl<S: Saga> TestSaga for S {}

/// Instances, after inputs.
#[derive(Debug)]
pub struct SagaAfter<S> {
    stream: Stream,
    instances: BTreeMap<String, Instance>,
    /// The commands of the last step, with the instance that sent them.
    sent: Vec<types::NewCommand>,
    failure: Option<Failure>,
    saga: PhantomData<fn() -> S>,
}

#[derive(Debug, Default)]
struct Instance {
    /// None before it starts and after it ends. The commands that it sent outlast it: their outcomes come later.
    state: Option<Vec<u8>>,
    timers: BTreeMap<String, exports::Timer>,
    commands: Vec<types::NewCommand>,
}

impl<S: Saga> SagaAfter<S> {
    /// More events.
    pub fn when<E: Serialize>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        let _ = describe_saga::<S>("test", "0");
        self.sent.clear();
        for event in events {
            self.stream.push(&event);
            self.deliver_last_event();
        }
        self
    }

    /// One more event, as it stands in a stream: of another version, unknown to the saga, or unreadable.
    pub fn when_recorded(mut self, event_type: &str, version: u32, data: &str) -> Self {
        self.sent.clear();
        self.stream.push_raw(event_type, version, data.as_bytes().to_vec());
        self.deliver_last_event();
        self
    }

    /// A timer of the instance goes off.
    ///
    /// # Panics
    /// If it is not set.
    #[track_caller]
    pub fn when_timer(mut self, instance: &str, id: &str) -> Self {
        self.sent.clear();
        let timer = self.instances.get_mut(instance).and_then(|found| found.timers.remove(id));
        let timer = timer.unwrap_or_else(|| panic!("`{instance}` has no timer `{id}`"));
        self.deliver(instance, exports::SagaInput::Timer(timer));
        self
    }

    /// The last command of this type that the instance sent has ended. Nothing happens if the instance has too.
    ///
    /// # Panics
    /// If it sent none.
    #[track_caller]
    pub fn when_outcome(mut self, instance: &str, command_type: &str, result: CommandResult) -> Self {
        self.sent.clear();
        let found = self.instances.get(instance).filter(|found| !found.commands.is_empty());
        let command = found.and_then(|found| found.commands.iter().rfind(|sent| sent.type_ == command_type));
        let Some(command) = command else { panic!("`{instance}` has sent no `{command_type}`") };
        let outcome = exports::CommandOutcome {
            command_id: format!("{instance}/{command_type}"),
            type_: command_type.to_owned(),
            metadata: command.metadata.clone(),
            time: self.stream.now(),
            result: match result {
                CommandResult::Accepted(events) => exports::CommandResult::Accepted(events),
                CommandResult::Rejected(rejection) => exports::CommandResult::Rejected(rejection.into()),
                CommandResult::Failed(cause) => exports::CommandResult::Failed(cause),
            },
        };
        if self.is_alive(instance) {
            self.deliver(instance, exports::SagaInput::Outcome(outcome));
        }
        self
    }

    /// Asserts that the last step sent exactly these commands.
    ///
    /// # Panics
    /// If not, or if an input failed.
    #[track_caller]
    pub fn then_sends(self, expected: impl IntoIterator<Item = S::Command>) -> Self {
        self.no_failure();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|command| {
                let wire = to_wire(&command);
                (wire.name.to_owned(), text(&wire.data))
            })
            .collect();
        let sent: Vec<_> =
            self.sent.iter().map(|command| (command.type_.clone(), text(&command.data))).collect();
        assert_eq!(sent, expected, "left is what was sent, right is what was expected");
        self
    }

    /// Asserts the instance's state.
    ///
    /// # Panics
    /// If it is another, or if the instance does not exist, or if an input failed.
    #[track_caller]
    pub fn then_state(self, instance: &str, expected: &S::State) -> Self {
        self.no_failure();
        let state = self.instances.get(instance).and_then(|found| found.state.as_deref()).map(text);
        assert_eq!(
            state,
            Some(json(expected)),
            "left is the state of `{instance}`, right is what was expected"
        );
        self
    }

    /// Asserts that there is no such instance: it never began, or it has ended.
    ///
    /// # Panics
    /// If there is, or if an input failed.
    #[track_caller]
    pub fn then_ended(self, instance: &str) -> Self {
        self.no_failure();
        let state = self.instances.get(instance).and_then(|found| found.state.as_deref()).map(text);
        assert_eq!(state, None, "left is the state of `{instance}`");
        self
    }

    /// Asserts when a timer of the instance is due; `None` where it must not be set.
    ///
    /// # Panics
    /// If not, or if an input failed.
    #[track_caller]
    pub fn then_timer(self, instance: &str, id: &str, due: Option<Timestamp>) -> Self {
        self.no_failure();
        let timer = self.instances.get(instance).and_then(|found| found.timers.get(id));
        let found = timer.map(|timer| Timestamp::from_nanos(timer.due));
        assert_eq!(
            found, due,
            "left is when timer `{id}` of `{instance}` is due, right is what was expected"
        );
        self
    }

    /// Asserts that an input failed. Answers why.
    ///
    /// # Panics
    /// If none did.
    #[track_caller]
    pub fn then_failure(self) -> Failure {
        self.failure.expect("no input fails")
    }

    #[track_caller]
    fn no_failure(&self) {
        if let Some(failure) = &self.failure {
            panic!("an input failed: {failure:?}");
        }
    }

    fn is_alive(&self, instance: &str) -> bool {
        self.instances.get(instance).is_some_and(|found| found.state.is_some())
    }

    fn deliver_last_event(&mut self) {
        let Some(event) = self.stream.0.last().cloned() else { return };
        match correlate::<S>(event.clone()) {
            Ok(correlations) => {
                for exports::Correlation { instance, relation } in correlations {
                    if relation == exports::Relation::Start || self.is_alive(&instance) {
                        self.deliver(&instance, exports::SagaInput::Event(event.clone()));
                    }
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What the host does with one input, on a map.
    fn deliver(&mut self, id: &str, input: exports::SagaInput) {
        let instance = self.instances.entry(id.to_owned()).or_default();
        let reaction = match react::<S>(id, instance.state.clone(), input) {
            Ok(reaction) => reaction,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        instance.state = reaction.state;
        for change in reaction.timers {
            match change {
                exports::TimerChange::Set(timer) => instance.timers.insert(timer.id.clone(), timer),
                exports::TimerChange::Cancel(id) => instance.timers.remove(&id),
            };
        }
        if instance.state.is_none() {
            instance.timers.clear();
        }
        instance.commands.extend(reaction.commands.iter().cloned());
        self.sent.extend(reaction.commands);
    }
}
