//! A [`Saga`] as the interface `saga`.

use std::marker::PhantomData;

use super::{Plugin, event_types, identity, names, read_known, to_wire};
use crate::bindings::saga::exports::pelton::plugin::saga as exports;
use crate::bindings::types;
use crate::saga::{NewCommand, TimerChange};
use crate::{
    CommandResult, Correlation, EventMeta, Failure, Input, Outcome, Outcomes, Reaction, Saga, Timer,
    Timestamp, log,
};

/// The exports of a plugin, for the host.
#[derive(Debug)]
pub struct Process<P>(PhantomData<P>);

impl<P: Plugin<Role: Saga>> exports::Guest for Process<P> {
    fn describe() -> exports::Descriptor {
        log::panics();
        describe::<P::Role>(P::NAME, P::VERSION)
    }

    fn correlate(event: types::RecordedEvent) -> Result<Vec<exports::Correlation>, types::Failure> {
        log::panics();
        correlate::<P::Role>(event).map_err(Into::into)
    }

    fn react(
        instance: String,
        state: Option<Vec<u8>>,
        input: exports::SagaInput,
    ) -> Result<exports::Reaction, types::Failure> {
        log::panics();
        react::<P::Role>(&instance, state, input).map_err(Into::into)
    }
}

pub(crate) fn describe<S: Saga>(name: &str, version: &str) -> exports::Descriptor {
    exports::Descriptor {
        identity: identity(name, version),
        events: event_types::<S::Event>(),
        commands: names::<S::Command>(),
        state_version: S::STATE_VERSION,
        metadata: needs::<S>().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

/// What the host has to give beside events, as the contract spells it.
fn needs<S: Saga>() -> Vec<(&'static str, &'static str)> {
    let timers = S::TIMERS.then_some(("timers", "true"));
    let outcomes = match S::OUTCOMES {
        Outcomes::Unused => None,
        Outcomes::Optional => Some(("outcomes", "optional")),
        Outcomes::Required => Some(("outcomes", "required")),
    };
    timers.into_iter().chain(outcomes).collect()
}

pub(crate) fn correlate<S: Saga>(
    recorded: types::RecordedEvent,
) -> Result<Vec<exports::Correlation>, Failure> {
    let (meta, data) = EventMeta::split(recorded);
    let Some(event) = read_known::<S::Event>(&meta, &data)? else { return Ok(Vec::new()) };
    Ok(S::correlate(&event, &meta).into_iter().map(Into::into).collect())
}

pub(crate) fn react<S: Saga>(
    instance: &str,
    state: Option<Vec<u8>>,
    input: exports::SagaInput,
) -> Result<exports::Reaction, Failure> {
    let input = match input {
        exports::SagaInput::Event(recorded) => {
            let (meta, data) = EventMeta::split(recorded);
            match read_known(&meta, &data)? {
                Some(event) => Input::Event(event, meta),
                None => return Ok(unchanged(state)),
            }
        }
        exports::SagaInput::Timer(timer) => {
            Input::Timer(Timer { id: timer.id, due: Timestamp::from_nanos(timer.due), data: timer.data })
        }
        exports::SagaInput::Outcome(outcome) => Input::Outcome(outcome.into()),
    };
    let state = state.as_deref().map(serde_json::from_slice).transpose().map_err(|error| {
        Failure::Other(format!(
            "the state of instance `{instance}` cannot be read: {error}; a changed form must still read the old one"
        ))
    })?;
    S::react(instance, state, input).and_then(|reaction| to_exports(instance, reaction))
}

fn unchanged(state: Option<Vec<u8>>) -> exports::Reaction {
    exports::Reaction { state, commands: Vec::new(), timers: Vec::new(), metadata: Vec::new() }
}

fn to_exports<S: Saga>(instance: &str, reaction: Reaction<S>) -> Result<exports::Reaction, Failure> {
    let state = reaction.state.map(|state| serde_json::to_vec(&state)).transpose().map_err(|error| {
        Failure::Other(format!("the new state of instance `{instance}` has no JSON form: {error}"))
    })?;
    Ok(exports::Reaction {
        state,
        commands: reaction.commands.into_iter().map(new_command).collect(),
        timers: reaction.timers.into_iter().map(Into::into).collect(),
        metadata: Vec::new(),
    })
}

pub(crate) fn new_command<C: serde::Serialize>(
    NewCommand { command, metadata }: NewCommand<C>,
) -> types::NewCommand {
    let wire = to_wire(&command);
    types::NewCommand { type_: wire.name.to_owned(), datacontenttype: None, metadata, data: wire.data }
}

impl From<Correlation> for exports::Correlation {
    fn from(Correlation { instance, starts }: Correlation) -> Self {
        let relation = if starts { exports::Relation::Start } else { exports::Relation::Advance };
        Self { instance, relation }
    }
}

impl From<TimerChange> for exports::TimerChange {
    fn from(change: TimerChange) -> Self {
        match change {
            TimerChange::Set { id, due, data } => Self::Set(exports::Timer { id, due: due.as_nanos(), data }),
            TimerChange::Cancel(id) => Self::Cancel(id),
        }
    }
}

impl From<exports::CommandOutcome> for Outcome {
    fn from(outcome: exports::CommandOutcome) -> Self {
        Self {
            command_id: outcome.command_id,
            command_type: outcome.type_,
            metadata: outcome.metadata,
            time: Timestamp::from_nanos(outcome.time),
            result: match outcome.result {
                exports::CommandResult::Accepted(events) => CommandResult::Accepted(events),
                exports::CommandResult::Rejected(rejection) => CommandResult::Rejected(rejection.into()),
                exports::CommandResult::Failed(cause) => CommandResult::Failed(cause),
            },
        }
    }
}

/// Makes a [`Saga`](crate::Saga) the plugin's export. Use it once in a crate. The crate's name and version become the
/// plugin's; `name = "…"` sets another name.
///
/// In a native build the macro only checks the name and the type, so the crate is tested like any other.
#[macro_export]
macro_rules! export_saga {
    ($saga:ty) => {
        $crate::export_saga!($saga, name = ::core::env!("CARGO_PKG_NAME"));
    };
    ($saga:ty, name = $name:expr) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Plugin for Exported {
                type Role = $saga;
                const NAME: &'static str = $crate::export::checked_name($name);
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            }

            type Exports = $crate::export::Process<Exported>;
            const _: &str = <Exported as $crate::export::Plugin>::NAME;
            const _: fn() -> $crate::bindings::saga::exports::pelton::plugin::saga::Descriptor =
                <Exports as $crate::bindings::saga::exports::pelton::plugin::saga::Guest>::describe;

            #[cfg(target_family = "wasm")]
    $crate::bindings::saga::export_bindings!(Exports with_types_in $crate::bindings::saga);
        };
    };
}
