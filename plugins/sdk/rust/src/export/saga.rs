//! A [`Saga`] as the interface `saga`.

use std::marker::PhantomData;

use super::{Plugin, accept_settings, event_types, identity, names, read_known, to_wire};
use crate::bindings::saga::exports::pelton::plugin::saga as exports;
use crate::bindings::types;
use crate::codec::{DecodeError, decode_command};
use crate::saga::{Relation, TimerChange};
use crate::{
    CommandResult, Correlation, DueTimer, EventMeta, Failure, Input, InputContext, Outcome, Outcomes,
    Outgoing, Reaction, Saga, Timestamp, log,
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
        context: exports::InputContext,
    ) -> Result<exports::Reaction, types::Failure> {
        log::panics();
        react::<P::Role>(instance, state, input, context).map_err(Into::into)
    }
}

pub(crate) fn describe<S: Saga>(name: &str, version: &str) -> exports::Descriptor {
    accept_settings(S::check_settings());
    exports::Descriptor {
        identity: identity(name, version),
        events: event_types::<S::Event>(),
        commands: names::<S::Command>(),
        timers: names::<S::Timer>(),
        state_version: S::STATE_VERSION,
        metadata: outcomes::<S>()
            .into_iter()
            .map(|value| ("outcomes".to_owned(), value.to_owned()))
            .collect(),
    }
}

/// How the saga uses outcomes, as the contract spells it.
fn outcomes<S: Saga>() -> Option<&'static str> {
    match S::OUTCOMES {
        Outcomes::Unused => None,
        Outcomes::Optional => Some("optional"),
        Outcomes::Required => Some("required"),
    }
}

pub(crate) fn correlate<S: Saga>(
    recorded: types::RecordedEvent,
) -> Result<Vec<exports::Correlation>, Failure> {
    let (meta, data) = EventMeta::split(recorded);
    let Some(event) = read_known::<S::Event>(&meta, &data)? else { return Ok(Vec::new()) };
    Ok(S::correlate(&event, &meta).into_iter().map(Into::into).collect())
}

pub(crate) fn react<S: Saga>(
    instance: String,
    state: Option<Vec<u8>>,
    input: exports::SagaInput,
    context: exports::InputContext,
) -> Result<exports::Reaction, Failure> {
    let input = match input {
        exports::SagaInput::Event(recorded) => {
            let (meta, data) = EventMeta::split(recorded);
            match read_known(&meta, &data)? {
                Some(event) => Input::Event(event, meta),
                None => return Ok(unchanged(state)),
            }
        }
        exports::SagaInput::Timer(due) => {
            let (timer, meta) = due_timer(due)?;
            Input::Timer(timer, meta)
        }
        exports::SagaInput::Outcome(outcome) => Input::Outcome(outcome.into()),
    };
    let state = state.as_deref().map(serde_json::from_slice).transpose().map_err(|error| {
        Failure::Other(format!(
            "the state of instance `{instance}` cannot be read: {error}; a changed form must still read the old one"
        ))
    })?;
    let exports::InputContext { input_id, time, correlation_id, metadata } = context;
    let time = Timestamp::from_nanos(time);
    let context = InputContext { instance, input_id, time, correlation_id, host: metadata };
    S::react(state, input, &context).and_then(|reaction| to_exports(&context.instance, reaction))
}

/// A timer and its attributes. One that the author's enum does not have fails: it was set to be heard.
fn due_timer<T: serde::de::DeserializeOwned>(due: exports::DueTimer) -> Result<(T, DueTimer), Failure> {
    let exports::DueTimer { timer: types::Timer { id, type_, due, data }, time } = due;
    let timer = decode_command(&type_, &data).map_err(|error| {
        Failure::Invalid(match error {
            DecodeError::Unknown => {
                format!("timer {id} is of type `{type_}`, which is unknown to this plugin")
            }
            DecodeError::Unreadable(error) => format!("the data of timer {id} cannot be read: {error}"),
        })
    })?;
    Ok((timer, DueTimer { id, due: Timestamp::from_nanos(due), time: Timestamp::from_nanos(time) }))
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
    Outgoing { command, reference, metadata }: Outgoing<C>,
) -> types::NewCommand {
    let wire = to_wire(&command);
    let type_ = wire.name.to_owned();
    types::NewCommand { type_, reference, datacontenttype: None, metadata, data: wire.data }
}

impl From<Correlation> for exports::Correlation {
    fn from(Correlation { instance, relation }: Correlation) -> Self {
        let relation = match relation {
            Relation::Start => exports::Relation::Start,
            Relation::StartOnce => exports::Relation::StartOnce,
            Relation::Advance => exports::Relation::Advance,
        };
        Self { instance, relation }
    }
}

impl From<TimerChange> for exports::TimerChange {
    fn from(change: TimerChange) -> Self {
        match change {
            TimerChange::Set { id, due, name, data } => {
                Self::Set(types::Timer { id, type_: name.to_owned(), due: due.as_nanos(), data })
            }
            TimerChange::Cancel(id) => Self::Cancel(id),
        }
    }
}

impl From<exports::CommandOutcome> for Outcome {
    fn from(outcome: exports::CommandOutcome) -> Self {
        Self {
            command_id: outcome.command_id,
            command_type: outcome.type_,
            reference: outcome.reference,
            time: Timestamp::from_nanos(outcome.time),
            result: match outcome.result {
                exports::CommandResult::Accepted(events) => CommandResult::Accepted(events),
                exports::CommandResult::Rejected(rejection) => CommandResult::Rejected(rejection.into()),
                exports::CommandResult::SetAside(cause) => CommandResult::SetAside(cause),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Timer {
        Unpaid { days: u8 },
    }

    #[test]
    fn a_timer_is_read_by_its_type_and_an_unknown_one_fails() {
        let due = |type_: &str, data: &str| {
            let (id, type_, data) = ("t".to_owned(), type_.to_owned(), data.as_bytes().to_vec());
            due_timer::<Timer>(exports::DueTimer { timer: types::Timer { id, type_, due: 1, data }, time: 2 })
        };
        let (Timer::Unpaid { days }, meta) = due("unpaid", r#"{"days":3}"#).expect("it is known");
        assert_eq!((days, meta.due.as_nanos(), meta.time.as_nanos()), (3, 1, 2));
        let unknown = "timer t is of type `no-show`, which is unknown to this plugin";
        assert_eq!(due("no-show", "{}").err(), Some(Failure::Invalid(unknown.to_owned())));
        assert!(
            matches!(due("unpaid", "{}"), Err(Failure::Invalid(why)) if why.contains("missing field `days`"))
        );
    }
}
