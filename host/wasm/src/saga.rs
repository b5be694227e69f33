//! The role `saga`.

use std::collections::HashSet;
use std::sync::Arc;

use pelton_core::contract::{
    MAX_COMMANDS_BYTES, MAX_CORRELATIONS, MAX_INSTANCE_BYTES, MAX_INSTANCE_STATE_BYTES, MAX_REFERENCE_BYTES,
    MAX_TIMER_BYTES, MAX_TIMER_CHANGES,
};
use pelton_core::id::{InstanceId, check_token};
use pelton_core::message::{Failure, NewCommand, RecordedEvent, Rejection};
use pelton_core::plugin::{Plugin, PluginFault};
use pelton_core::saga::model::{
    CommandOutcome, CommandResult, Correlation, DueTimer, InputContext, Reaction, Relation, SagaInput, Timer,
    TimerChange,
};
use pelton_core::saga::ports::{Migration, SagaDescriptor, SagaPlugin};
use pelton_core::text::excerpt;
use pelton_core::time::Timestamp;
use wasmtime::Store;

use crate::bindings::process::exports::pelton::plugin::saga::{
    self as guest, Descriptor, Guest, GuestIndices,
};
use crate::bindings::process::pelton::plugin::types;
use crate::context::CallContext;
use crate::guest::Guest as Host;
use crate::migration::WasmMigration;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::sandbox::{Blueprint, Sandbox};
use crate::validate;
use crate::values::for_people;
use crate::warm::{Held, Warm};

/// A plugin in the role `saga`. Clones share its warm instances.
#[derive(Clone)]
pub struct WasmSaga(Arc<Inner>);

struct Inner {
    warm: Warm<Guest>,
    indices: GuestIndices,
    descriptor: SagaDescriptor,
    migration: Option<WasmMigration>,
}

impl std::fmt::Debug for WasmSaga {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { warm, descriptor, .. } = &*self.0;
        f.debug_tuple("WasmSaga").field(&warm.blueprint.origin).field(descriptor).finish()
    }
}

impl WasmSaga {
    /// Checks that the component keeps to the role, and asks it for its descriptor.
    pub(crate) fn new(blueprint: Blueprint, migrates: bool) -> Result<Self, Refusal> {
        let migration = if migrates { Some(WasmMigration::new(&blueprint)?) } else { None };
        let (mut sandbox, instance) = blueprint.build()?;
        let mut role = Interface::of("saga", &blueprint, sandbox.store(), &instance)?;
        role.function("describe", Guest::func_describe)?;
        role.function("correlate", Guest::func_correlate)?;
        role.function("react", Guest::func_react)?;
        let indices = GuestIndices::new(&blueprint.pre).map_err(|e| Refusal::interface(&e))?;
        let guest = indices.load(sandbox.store(), &instance).map_err(|e| Refusal::interface(&e))?;
        let described = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
        let descriptor = SagaDescriptor {
            migrates: migration.is_some(),
            ..descriptor(described).map_err(Refusal::Descriptor)?
        };
        let warm = Warm::new(blueprint, sandbox, guest);
        Ok(Self(Arc::new(Inner { warm, indices, descriptor, migration })))
    }

    /// What one fresh instance says of itself, asked so many times.
    pub(crate) fn descriptions(&self, times: usize) -> Result<Vec<String>, PluginFault> {
        let Inner { warm, indices, .. } = &*self.0;
        warm.blueprint.descriptions(times, |sandbox, instance| {
            let guest = indices.load(sandbox.store(), instance);
            let guest = guest.map_err(|e| sandbox.refuse(format!("its exports cannot be found: {e:#}")))?;
            Ok(move |sandbox: &mut Sandbox| {
                let said = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
                let text = format!("{said:?}");
                descriptor(said).map(|_| text).map_err(|what| sandbox.refuse(what))
            })
        })
    }

    fn take(&self) -> Result<Held<Guest>, PluginFault> {
        self.0.warm.take(
            |sandbox, instance| self.0.indices.load(sandbox.store(), instance),
            |guest, store| guest.call_describe(store).map(drop),
        )
    }
}

fn descriptor(described: Descriptor) -> Result<SagaDescriptor, String> {
    let Descriptor { identity, events, commands, timers, state_version, metadata } = described;
    validate::descriptor_metadata(&metadata)?;
    Ok(SagaDescriptor {
        identity: validate::identity(identity.name, identity.version, &identity.metadata)?,
        events: validate::event_types(events.into_iter().map(|t| (t.type_, t.version)))?,
        commands: validate::command_types(commands)?,
        timers: validate::timer_types(timers)?,
        takes_outcomes: takes_outcomes(&metadata)?,
        state_version,
        migrates: false,
    })
}

/// Whether the plugin takes outcomes, as the descriptor's metadata says.
fn takes_outcomes(metadata: &[(String, String)]) -> Result<bool, String> {
    match metadata.iter().find(|(name, _)| name == "outcomes").map(|(_, value)| value.as_str()) {
        None => Ok(false),
        Some("optional" | "required") => Ok(true),
        Some(other) => {
            let other = excerpt(other);
            Err(format!("its metadata `outcomes` is {other:?}, neither `required` nor `optional`"))
        }
    }
}

impl Plugin for WasmSaga {
    fn name(&self) -> &str {
        &self.0.warm.blueprint.origin.name
    }

    fn digest(&self) -> &str {
        &self.0.warm.blueprint.origin.digest
    }
}

impl SagaPlugin for WasmSaga {
    fn descriptor(&self) -> &SagaDescriptor {
        &self.0.descriptor
    }

    async fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> Result<Result<Vec<Correlation>, Failure>, PluginFault> {
        let mut held = self.take()?;
        let context = CallContext::of_event(event);
        let event = types::RecordedEvent::from(event);
        let guest = &held.guest;
        let answer = match held.sandbox.call(&context, |store| guest.call_correlate(store, &event))? {
            Ok(named) => Ok(correlations(named).map_err(|what| held.sandbox.refuse(what))?),
            Err(given) => Err(failure(given)),
        };
        self.0.warm.put_back(held);
        Ok(answer)
    }

    async fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> Result<Result<Reaction, Failure>, PluginFault> {
        let mut held = self.take()?;
        let instance = instance.as_str();
        let bytes = input_bytes(input).saturating_add(state.map_or(0, <[u8]>::len));
        let call = CallContext::of_input(context, instance, bytes);
        let (input, context) = (guest::SagaInput::from(input), guest::InputContext::from(context));
        let guest = &held.guest;
        let react = |store: &mut Store<Host>| guest.call_react(store, instance, state, &input, &context);
        let reacted = held.sandbox.call(&call, react);
        let answer = match reacted? {
            Ok(given) => Ok(reaction(given).map_err(|what| held.sandbox.refuse(what))?),
            Err(given) => Err(failure(given)),
        };
        self.0.warm.put_back(held);
        Ok(answer)
    }

    async fn migrate(
        &self,
        instance: &InstanceId,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> Result<Migration, PluginFault> {
        let Some(migration) = &self.0.migration else { return Ok(None) };
        let blueprint = &self.0.warm.blueprint;
        migration.migrate(blueprint, instance, from_version, state, timers).map(Some)
    }
}

/// The bytes of an input's payload.
fn input_bytes(input: &SagaInput) -> usize {
    match input {
        SagaInput::Event(recorded) => recorded.event.data.len(),
        SagaInput::Timer(due) => due.timer.data.len(),
        SagaInput::Outcome(_) => 0,
    }
}

fn correlations(named: Vec<guest::Correlation>) -> Result<Vec<Correlation>, String> {
    validate::at_most("`correlate`'s answer", named.len(), MAX_CORRELATIONS, "instances")?;
    let mut seen = HashSet::new();
    if let Some(twice) = named.iter().find(|c| !seen.insert(c.instance.as_str())) {
        return Err(format!("`correlate` names the instance {:?} twice", twice.instance));
    }
    let owned = named.into_iter().map(|guest::Correlation { instance, relation }| {
        let relation = match relation {
            guest::Relation::Start => Relation::Start,
            guest::Relation::StartOnce => Relation::StartOnce,
            guest::Relation::Advance => Relation::Advance,
        };
        Correlation { instance, relation }
    });
    Ok(owned.collect())
}

fn reaction(given: guest::Reaction) -> Result<Reaction, String> {
    let guest::Reaction { state, commands, timers, metadata } = given;
    validate::at_most("the state", state.as_ref().map_or(0, Vec::len), MAX_INSTANCE_STATE_BYTES, "bytes")?;
    validate::at_most("the reaction", timers.len(), MAX_TIMER_CHANGES, "changes of timers")?;
    validate::pairs("the reaction", &metadata)?;
    let bytes = commands.iter().map(command_bytes).sum();
    validate::at_most("what it sends in one reaction", bytes, MAX_COMMANDS_BYTES, "bytes")?;
    for command in &commands {
        validate::pairs("a command", &command.metadata)?;
        let reference = command.reference.as_ref().map_or(0, String::len);
        validate::at_most("the reference of a command", reference, MAX_REFERENCE_BYTES, "bytes")?;
    }
    let commands = commands.into_iter().map(new_command).collect();
    let timers = timers.into_iter().map(timer_change).collect::<Result<_, _>>()?;
    Ok(Reaction { state, commands, timers })
}

/// The bytes that count for a command: its data, and the rest of it as JSON.
fn command_bytes(command: &types::NewCommand) -> usize {
    let types::NewCommand { type_, reference, datacontenttype, metadata, data } = command;
    let rest = serde_json::to_vec(&(type_, reference, datacontenttype, metadata));
    data.len().saturating_add(rest.map_or(usize::MAX, |json| json.len()))
}

fn timer_change(change: guest::TimerChange) -> Result<TimerChange, String> {
    match change {
        guest::TimerChange::Set(types::Timer { id, type_, due, data }) => {
            let timer = Timer { id, r#type: type_, due: Timestamp(due), data: data.into() };
            check_timer(&timer)?;
            Ok(TimerChange::Set(timer))
        }
        guest::TimerChange::Cancel(id) => {
            check_timer_id(&id)?;
            Ok(TimerChange::Cancel(id))
        }
    }
}

/// Checks a timer that a plugin sets.
pub(crate) fn check_timer(timer: &Timer) -> Result<(), String> {
    check_timer_id(&timer.id)?;
    validate::at_most("a timer", timer.data.len(), MAX_TIMER_BYTES, "bytes")
}

/// Checks the id of a timer. The rules of instance ids apply.
fn check_timer_id(id: &str) -> Result<(), String> {
    check_token(id).map_err(|e| format!("the id of a timer {e}"))?;
    validate::at_most("the id of a timer", id.len(), MAX_INSTANCE_BYTES, "bytes")
}

impl From<&SagaInput> for guest::SagaInput {
    fn from(input: &SagaInput) -> Self {
        match input {
            SagaInput::Event(event) => Self::Event(event.into()),
            SagaInput::Timer(DueTimer { timer: Timer { id, r#type, due, data }, time }) => {
                let (id, type_, data) = (id.clone(), r#type.clone(), data.to_vec());
                Self::Timer(guest::DueTimer {
                    timer: types::Timer { id, type_, due: due.0, data },
                    time: time.0,
                })
            }
            SagaInput::Outcome(outcome) => Self::Outcome(outcome.into()),
        }
    }
}

impl From<&InputContext> for guest::InputContext {
    fn from(context: &InputContext) -> Self {
        let InputContext { input_id, time, correlation_id, metadata } = context.clone();
        Self { input_id, time: time.0, correlation_id, metadata }
    }
}

impl From<&CommandOutcome> for guest::CommandOutcome {
    fn from(outcome: &CommandOutcome) -> Self {
        let CommandOutcome { command_id, r#type, reference, time, result } = outcome;
        let result = match result {
            CommandResult::Accepted(event_ids) => guest::CommandResult::Accepted(event_ids.clone()),
            CommandResult::Rejected(rejection) => {
                let Rejection { code, message, details } = rejection.clone();
                guest::CommandResult::Rejected(types::Rejection { code, message, details })
            }
            CommandResult::SetAside(cause) => guest::CommandResult::SetAside(cause.clone()),
            CommandResult::Failed(cause) => guest::CommandResult::Failed(cause.clone()),
        };
        Self {
            command_id: command_id.clone(),
            type_: r#type.clone(),
            reference: reference.clone(),
            time: time.0,
            result,
            metadata: Vec::new(),
        }
    }
}

impl From<&RecordedEvent> for types::RecordedEvent {
    fn from(recorded: &RecordedEvent) -> Self {
        let event = &recorded.event;
        Self {
            event: types::Event {
                id: event.id.clone(),
                source: event.source.clone(),
                type_: event.r#type.clone(),
                version: event.version,
                subject: event.subject.clone(),
                time: event.time.map(|t| t.0),
                datacontenttype: event.datacontenttype.clone(),
                dataschema: event.dataschema.clone(),
                extensions: event.extensions.clone(),
                data: event.data.to_vec(),
            },
            stream: recorded.stream.to_string(),
            sequence: recorded.sequence.0,
            part: recorded.part,
            recorded_at: recorded.recorded_at.0,
        }
    }
}

fn failure(failure: types::Failure) -> Failure {
    match failure {
        types::Failure::Retry(after_ms) => Failure::Retry(after_ms),
        types::Failure::Invalid(text) => Failure::Invalid(for_people(text)),
        types::Failure::Other(text) => Failure::Other(for_people(text)),
    }
}

fn new_command(command: types::NewCommand) -> NewCommand {
    let types::NewCommand { type_, reference, datacontenttype, metadata, data } = command;
    NewCommand { r#type: type_, reference, datacontenttype, metadata, data: data.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(id: &str, bytes: usize) -> guest::TimerChange {
        let (id, type_) = (id.to_owned(), "due".to_owned());
        guest::TimerChange::Set(types::Timer { id, type_, due: 1, data: vec![0; bytes] })
    }

    fn command(bytes: usize, metadata: &[(&str, &str)]) -> types::NewCommand {
        let metadata =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (type_, data) = ("do".to_owned(), vec![0; bytes]);
        types::NewCommand { type_, reference: None, datacontenttype: None, metadata, data }
    }

    fn referenced(bytes: usize) -> types::NewCommand {
        types::NewCommand { reference: Some("r".repeat(bytes)), ..command(1, &[]) }
    }

    #[test]
    fn a_reaction_keeps_to_the_limits_of_the_contract() {
        let empty = || guest::Reaction {
            state: None,
            commands: Vec::new(),
            timers: Vec::new(),
            metadata: Vec::new(),
        };
        let state = |bytes: usize| guest::Reaction { state: Some(vec![0; bytes]), ..empty() };
        let commands = |commands: Vec<types::NewCommand>| guest::Reaction { commands, ..empty() };
        let timers = |timers: Vec<guest::TimerChange>| guest::Reaction { timers, ..empty() };
        let cancel = |id: &str| guest::TimerChange::Cancel(id.to_owned());
        let many = || (0..101).map(|n| set(&n.to_string(), 0)).collect();
        let long = "x".repeat(129);
        for (given, expected) in [
            (empty(), None),
            (state(262_144), None),
            (state(262_145), Some("the state has 262145 bytes; at most 262144 are allowed")),
            // Beside its data, a command has `["do",null,null,[]]`.
            (commands(vec![command(409_600 - 19, &[])]), None),
            (
                commands(vec![command(204_800, &[]), command(204_800 - 37, &[])]),
                Some("what it sends in one reaction has 409601 bytes; at most 409600 are allowed"),
            ),
            (
                commands(vec![command(409_600 - 19, &[("tenant", "a")])]),
                Some("what it sends in one reaction has 409614 bytes; at most 409600 are allowed"),
            ),
            (
                commands(vec![command(1, &[("a", "1"), ("a", "2")])]),
                Some("a command has the metadata \"a\" twice"),
            ),
            (commands(vec![referenced(256)]), None),
            (
                commands(vec![referenced(257)]),
                Some("the reference of a command has 257 bytes; at most 256 are allowed"),
            ),
            (timers(vec![set("a", 65_536), cancel("b")]), None),
            (timers(vec![set("a", 65_537)]), Some("a timer has 65537 bytes; at most 65536 are allowed")),
            (timers(vec![cancel("")]), Some("the id of a timer is empty")),
            (timers(vec![set(&long, 1)]), Some("the id of a timer has 129 bytes; at most 128 are allowed")),
            (timers(many()), Some("the reaction has 101 changes of timers; at most 100 are allowed")),
        ] {
            assert_eq!(reaction(given).err().as_deref(), expected);
        }
    }

    #[test]
    fn whether_a_saga_takes_outcomes_is_read_from_its_descriptor() {
        let takes = |name: &str, value: &str| takes_outcomes(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(takes("else", "x"), Ok(false));
        assert_eq!(takes("outcomes", "optional"), Ok(true));
        assert_eq!(takes("outcomes", "required"), Ok(true));
        assert_eq!(
            takes("outcomes", "yes"),
            Err("its metadata `outcomes` is \"yes\", neither `required` nor `optional`".to_owned())
        );
    }

    #[test]
    fn an_event_concerns_few_instances_and_each_once() {
        let named = |names: &[&str]| {
            let named = names.iter().map(|name| guest::Correlation {
                instance: (*name).to_owned(),
                relation: guest::Relation::Start,
            });
            correlations(named.collect()).err()
        };
        assert_eq!(named(&["a", "b"]), None);
        assert_eq!(named(&["a", "b", "a"]).as_deref(), Some("`correlate` names the instance \"a\" twice"));
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            named(&many).as_deref(),
            Some("`correlate`'s answer has 17 instances; at most 16 are allowed")
        );
    }
}
