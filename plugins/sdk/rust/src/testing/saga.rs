//! Given events, when an input, then commands, timers and states.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use serde_json::{Value, json};

use super::events::{Stream, data, show_event, variant};
use super::report::Report;
use super::{IntoTestEvent, raw_event};
use crate::bindings::saga::exports::pelton::plugin::saga as exports;
use crate::bindings::types;
use crate::export::migration::migrate;
use crate::export::{correlate, describe_saga, react};
use crate::{CommandResult, Failure, Outcomes, Saga, SagaMigration, Timestamp};

/// Adds `given` to every [`Saga`].
pub trait TestSaga: Saga {
    /// The instances after these events. They may be of any enum whose variants are event types: the saga's own, or
    /// those of the handlers that emit them. With [`event`](super::event) their attributes can be set.
    #[track_caller]
    fn given<E: IntoTestEvent>(events: impl IntoIterator<Item = E>) -> SagaAfter<Self> {
        let after = SagaAfter {
            stream: Stream::default(),
            instances: BTreeMap::new(),
            sent: Vec::new(),
            before: Vec::new(),
            step: Vec::new(),
            failure: None,
            inputs: 0,
            inputs_of_step: Vec::new(),
            saga: PhantomData,
        };
        after.when(events)
    }
}

impl<S: Saga> TestSaga for S {}

/// A timer of an instance as another version of the saga set it: its id, its type, when it is due, its data as JSON.
pub type OldTimer<'a> = (&'a str, &'a str, Timestamp, &'a str);

/// Adds `given_old` to every [`SagaMigration`].
pub trait TestSagaMigration: SagaMigration {
    /// An instance that another version of the saga left with this state, as JSON, and these timers, after it was taken over.
    ///
    /// # Panics
    /// If the saga cannot take it over. The message has the cause.
    #[track_caller]
    fn given_old(instance: &str, version: u32, state: &str, timers: &[OldTimer<'_>]) -> SagaAfter<Self> {
        let timers = timers.iter().map(|(id, type_, due, data)| types::Timer {
            id: (*id).to_owned(),
            type_: (*type_).to_owned(),
            due: due.as_nanos(),
            data: data.as_bytes().to_vec(),
        });
        let migrated =
            migrate::<Self>(instance.to_owned(), version, state.as_bytes().to_vec(), timers.collect());
        let migrated = migrated.unwrap_or_else(|why| panic!("the instance cannot be taken over: {why}"));
        let timers = migrated.timers.into_iter().map(|timer| (timer.id.clone(), timer)).collect();
        let taken = Instance { state: Some(migrated.state), was_there: true, timers, commands: Vec::new() };
        let mut after = Self::given::<()>([]);
        after.instances.insert(instance.to_owned(), taken);
        after
    }
}

impl<S: SagaMigration> TestSagaMigration for S {}

/// Instances after some inputs.
#[derive(Debug)]
pub struct SagaAfter<S> {
    stream: Stream,
    instances: BTreeMap<String, Instance>,
    /// The commands of the last step, with the instance that sent them.
    sent: Vec<types::NewCommand>,
    /// The inputs before the last step and the inputs of the last step, for reports.
    before: Vec<Value>,
    step: Vec<Value>,
    failure: Option<Failure>,
    /// The number of inputs so far.
    inputs: u64,
    /// What the saga was called with in the last step.
    inputs_of_step: Vec<Call>,
    saga: PhantomData<fn() -> S>,
}

/// One call of `react`.
type Call = (String, Option<Vec<u8>>, exports::SagaInput, exports::InputContext);

/// What the host passes with an input. The process is that of the event, or `test`.
fn context(input: &exports::SagaInput, n: u64) -> exports::InputContext {
    let (time, correlation_id) = match input {
        exports::SagaInput::Event(recorded) => {
            let named = recorded.event.extensions.iter().find(|(name, _)| name == "correlationid");
            (recorded.recorded_at, named.map_or(&recorded.event.id, |(_, id)| id).clone())
        }
        exports::SagaInput::Timer(due) => (due.time, "test".to_owned()),
        exports::SagaInput::Outcome(outcome) => (outcome.time, "test".to_owned()),
    };
    exports::InputContext { input_id: format!("input-{n}"), time, correlation_id, metadata: Vec::new() }
}

#[derive(Debug, Default)]
struct Instance {
    /// `None` before the instance starts and after it ends. The commands that it sent outlast it, because their
    /// outcomes come later.
    state: Option<Vec<u8>>,
    /// Whether there was an instance of this id.
    was_there: bool,
    timers: BTreeMap<String, types::Timer>,
    /// The commands that have no final outcome yet.
    commands: Vec<types::NewCommand>,
}

impl<S: Saga> SagaAfter<S> {
    /// Passes more events.
    #[track_caller]
    pub fn when<E: IntoTestEvent>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        let _ = describe_saga::<S>("test", "0");
        self.begin_step();
        for event in events {
            self.stream.push(event);
            self.deliver_last_event();
        }
        self
    }

    /// Passes one more event in its stored form: of another version, unknown to the saga, or unreadable.
    #[track_caller]
    pub fn when_recorded(self, event_type: &str, version: u32, data: &str) -> Self {
        self.when([raw_event(event_type, version, data)])
    }

    /// Lets a timer of the instance go off: when it is due, or at the time of the last event if that is later.
    ///
    /// # Panics
    /// If the timer is not set.
    #[track_caller]
    pub fn when_timer(mut self, instance: &str, id: &str) -> Self {
        self.begin_step();
        let timer = self.instances.get_mut(instance).and_then(|found| found.timers.remove(id));
        let timer = timer.unwrap_or_else(|| panic!("`{instance}` has no timer `{id}`"));
        self.step.push(
            json!({ "timer": id, "instance": instance, "due": Timestamp::from_nanos(timer.due).to_string() }),
        );
        let time = timer.due.max(self.stream.now());
        self.deliver(instance, exports::SagaInput::Timer(exports::DueTimer { timer, time }));
        self
    }

    /// Lets time pass. Timers that become due go off, of all instances and in order of due, each at its time, and so do timers
    /// that these set; they are one step.
    #[track_caller]
    pub fn advance(mut self, by: Duration) -> Self {
        self.begin_step();
        let until = Timestamp::from_nanos(self.stream.now()) + by;
        self.step.push(json!({ "advance to": until.to_string() }));
        while let Some((instance, id)) = self.next_due(until.as_nanos()) {
            let timer = self.instances.get_mut(&instance).and_then(|found| found.timers.remove(&id));
            let Some(timer) = timer else { break };
            let time = timer.due.max(self.stream.now());
            self.stream.move_to(time);
            self.step.push(
                json!({ "timer": id, "instance": instance, "time": Timestamp::from_nanos(time).to_string() }),
            );
            self.deliver(&instance, exports::SagaInput::Timer(exports::DueTimer { timer, time }));
        }
        self.stream.move_to(until.as_nanos());
        self
    }

    /// The timer that is due first, by this time.
    fn next_due(&self, by: u64) -> Option<(String, String)> {
        let timers = self.instances.iter().flat_map(|(instance, found)| {
            found.timers.values().map(move |timer| (timer.due, instance.as_str(), timer.id.as_str()))
        });
        let (_, instance, id) = timers.filter(|(due, ..)| *due <= by).min()?;
        Some((instance.to_owned(), id.to_owned()))
    }

    /// The host crashes and starts again, and gets the events of the last step once more, as may happen at any time. Each
    /// instance has handled them, so nothing changes; what the step sent is sent once more, under the same ids.
    ///
    /// # Panics
    /// If the saga reacts to the same input in another way: it must depend on its arguments alone.
    #[track_caller]
    pub fn when_restarted(self) -> Self {
        for (instance, state, input, context) in &self.inputs_of_step {
            let again = || react::<S>(instance.clone(), state.clone(), input.clone(), context.clone());
            let (one, other) = (again(), again());
            assert_eq!(
                format!("{one:?}"),
                format!("{other:?}"),
                "`{instance}` reacts to the same input in two ways; a saga depends on its arguments alone"
            );
        }
        self
    }

    /// A timer goes off that is not set any more, because it was cancelled, set again or its instance has ended: its message
    /// was on its way by then. A host tells it apart, so nothing happens.
    ///
    /// # Panics
    /// If the timer is set: let it go off with [`when_timer`](Self::when_timer).
    #[track_caller]
    pub fn when_late_timer(mut self, instance: &str, id: &str) -> Self {
        let is_set = self.instances.get(instance).is_some_and(|found| found.timers.contains_key(id));
        assert!(!is_set, "the timer `{id}` of `{instance}` is set");
        self.begin_step();
        self.step.push(json!({ "late timer": id, "instance": instance }));
        self
    }

    /// Ends the last command of this type that the instance sent and that has no final outcome yet. Nothing happens if the
    /// instance has ended too.
    ///
    /// # Panics
    /// If the instance has sent no such command, or if the saga does not set [`OUTCOMES`](Saga::OUTCOMES), because a host
    /// then passes it no outcomes.
    #[track_caller]
    pub fn when_outcome(self, instance: &str, command_type: &str, result: CommandResult) -> Self {
        self.end(instance, command_type, |sent| sent.type_ == command_type, result)
    }

    /// Ends the last command to which the instance gave this reference, as [`when_outcome`](Self::when_outcome) does.
    ///
    /// # Panics
    /// As [`when_outcome`](Self::when_outcome).
    #[track_caller]
    pub fn when_outcome_of(self, instance: &str, reference: &str, result: CommandResult) -> Self {
        self.end(instance, reference, |sent| sent.reference.as_deref() == Some(reference), result)
    }

    #[track_caller]
    fn end(
        mut self,
        instance: &str,
        called: &str,
        is_meant: impl Fn(&types::NewCommand) -> bool,
        result: CommandResult,
    ) -> Self {
        assert_ne!(
            S::OUTCOMES,
            Outcomes::Unused,
            "no host gives outcomes to a saga that does not say `const OUTCOMES: Outcomes = …;`"
        );
        self.begin_step();
        let commands = self.instances.get_mut(instance).map(|found| &mut found.commands);
        let found = commands.and_then(|commands| Some((commands.iter().rposition(is_meant)?, commands)));
        let Some((at, commands)) = found else { panic!("`{instance}` has sent no `{called}` that goes on") };
        let command = if result.is_final() { commands.remove(at) } else { commands[at].clone() };
        self.step.push(json!({ "outcome": format!("{result:?}"), "instance": instance, "of": called }));
        let outcome = exports::CommandOutcome {
            command_id: format!("{instance}/{called}"),
            type_: command.type_,
            reference: command.reference,
            metadata: Vec::new(),
            time: self.stream.now(),
            result: match result {
                CommandResult::Accepted(events) => exports::CommandResult::Accepted(events),
                CommandResult::Rejected(rejection) => exports::CommandResult::Rejected(rejection.into()),
                CommandResult::SetAside(cause) => exports::CommandResult::SetAside(cause),
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
    /// If it sent other commands, or if an input failed.
    #[track_caller]
    pub fn then_sends(self, expected: impl IntoIterator<Item = S::Command>) -> Self {
        self.no_failure();
        let expected = expected.into_iter().map(|command| variant(&command)).collect();
        let sent =
            self.sent.iter().map(|command| json!({ command.type_.as_str(): data(&command.data) })).collect();
        self.report("other commands are sent than expected".to_owned()).assert(&expected, &sent);
        self
    }

    /// Asserts the instance's state.
    ///
    /// # Panics
    /// If the state is another, if the instance does not exist, or if an input failed.
    #[track_caller]
    pub fn then_state(self, instance: &str, expected: &S::State) -> Self {
        self.no_failure();
        let what = match self.shown(instance) {
            Some(_) => format!("the instance `{instance}` has another state than expected"),
            None => format!("there is no instance `{instance}`; there are {:?}", self.alive()),
        };
        let expected = serde_json::to_value(expected).expect("a state under test has a JSON form");
        self.report(what).assert(&expected, &self.shown(instance).unwrap_or_default());
        self
    }

    /// Asserts that the instance does not exist: it never started, or it has ended.
    ///
    /// # Panics
    /// If the instance exists, or if an input failed.
    #[track_caller]
    pub fn then_ended(self, instance: &str) -> Self {
        self.no_failure();
        let what = format!("the instance `{instance}` goes on, it has not ended as expected");
        self.report(what).assert(&Value::Null, &self.shown(instance).unwrap_or_default());
        self
    }

    /// Asserts when a timer of the instance is due; `None` asserts that it is not set.
    ///
    /// # Panics
    /// If it is due at another time, or if an input failed.
    #[track_caller]
    pub fn then_timer(self, instance: &str, id: &str, due: Option<Timestamp>) -> Self {
        self.no_failure();
        let timer = self.instances.get(instance).and_then(|found| found.timers.get(id));
        let found = timer.map(|timer| Timestamp::from_nanos(timer.due).to_string());
        let what = format!("timer `{id}` of `{instance}` is due at another time than expected");
        self.report(what).assert(&json!(due.map(|due| due.to_string())), &json!(found));
        self
    }

    /// Asserts that an input failed, and returns the cause.
    ///
    /// # Panics
    /// If no input failed.
    #[track_caller]
    pub fn then_failure(self) -> Failure {
        self.failure.expect("no input fails")
    }

    fn report(&self, what: String) -> Report {
        Report { given: self.before.clone(), when: self.step.clone(), what }
    }

    fn begin_step(&mut self) {
        self.sent.clear();
        self.inputs_of_step.clear();
        self.before.append(&mut self.step);
    }

    /// The instance's state; `None` if it does not exist.
    ///
    /// # Panics
    /// If an input failed, or if the state cannot be read back.
    #[must_use]
    #[track_caller]
    pub fn state(&self, instance: &str) -> Option<S::State> {
        self.no_failure();
        let state = self.instances.get(instance).and_then(|found| found.state.as_deref());
        state.map(|state| serde_json::from_slice(state).expect("a state can be read back"))
    }

    fn shown(&self, instance: &str) -> Option<Value> {
        self.instances.get(instance).and_then(|found| found.state.as_deref()).map(data)
    }

    fn alive(&self) -> Vec<&String> {
        self.instances.iter().filter(|(_, found)| found.state.is_some()).map(|(id, _)| id).collect()
    }

    #[track_caller]
    fn no_failure(&self) {
        if let Some(failure) = &self.failure {
            self.report("an input failed".to_owned())
                .fail(&json!("no failure"), &json!(format!("{failure:?}")));
        }
    }

    fn is_alive(&self, instance: &str) -> bool {
        self.instances.get(instance).is_some_and(|found| found.state.is_some())
    }

    fn deliver_last_event(&mut self) {
        let Some(event) = self.stream.0.last().cloned() else { return };
        self.step.push(show_event(&event));
        match correlate::<S>(event.clone()) {
            Ok(correlations) => {
                for exports::Correlation { instance, relation } in correlations {
                    let was_there = self.instances.get(&instance).is_some_and(|found| found.was_there);
                    let starts = match relation {
                        exports::Relation::Start => true,
                        exports::Relation::StartOnce => !was_there,
                        exports::Relation::Advance => false,
                    };
                    if starts || self.is_alive(&instance) {
                        self.deliver(&instance, exports::SagaInput::Event(event.clone()));
                    }
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Does the host's work for one input, on a map.
    fn deliver(&mut self, id: &str, input: exports::SagaInput) {
        self.inputs += 1;
        let context = context(&input, self.inputs);
        let instance = self.instances.entry(id.to_owned()).or_default();
        instance.was_there = true;
        let call = (id.to_owned(), instance.state.clone(), input.clone(), context.clone());
        self.inputs_of_step.push(call);
        let reaction = match react::<S>(id.to_owned(), instance.state.clone(), input, context) {
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
