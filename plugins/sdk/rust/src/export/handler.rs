//! A [`CommandHandler`] as the interface `command-handler`.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::{Plugin, accept_settings, event_type, event_types, identity, names, to_wire, wire_enum};
use crate::bindings::command_handler::exports::pelton::plugin::command_handler as exports;
use crate::bindings::types;
use crate::codec::{DecodeError, decode_command, decode_event, split_variant};
use crate::message::INVALID_COMMAND;
use crate::{CommandHandler, Context, EventMeta, Rejection, log};

/// The exports of a plugin, for the host.
#[derive(Debug)]
pub struct Handler<P>(PhantomData<P>);

/// One entity. The host calls it from one thread, one call at a time.
#[derive(Debug)]
pub struct Entity<H>(RefCell<H>);

impl<P: Plugin<Role: CommandHandler>> exports::Guest for Handler<P> {
    type Entity = Entity<P::Role>;

    fn describe() -> exports::Descriptor {
        log::panics();
        describe::<P::Role>(P::NAME, P::VERSION)
    }
}

impl<H: CommandHandler> exports::GuestEntity for Entity<H> {
    fn new(_id: String) -> Self {
        log::panics();
        Self(RefCell::default())
    }

    fn restore(_id: String, snapshot: Vec<u8>) -> Result<exports::Entity, String> {
        log::panics();
        H::restore(&snapshot).map(|state| exports::Entity::new(Self(RefCell::new(state))))
    }

    fn evolve(&self, events: Vec<types::RecordedEvent>) -> Result<(), String> {
        evolve(&mut *self.0.borrow_mut(), events)
    }

    fn decide(&self, command: types::Command) -> Result<Vec<types::NewEvent>, types::Rejection> {
        decide(&*self.0.borrow(), command).map_err(Into::into)
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.0.borrow().snapshot()
    }
}

pub(crate) fn describe<H: CommandHandler>(name: &str, version: &str) -> exports::Descriptor {
    accept_settings(H::check_settings());
    exports::Descriptor {
        identity: identity(name, version),
        commands: names::<H::Command>(),
        emits: emitted::<H>(),
        folds: event_types::<H::Event>(),
        rejections: names::<H::Rule>(),
        state_version: H::STATE_VERSION,
        // An `EventContext` has no position, so no state can depend on one.
        metadata: vec![("decide-ahead".to_owned(), "true".to_owned())],
    }
}

/// The variants of the handler's events that are not retired. Panics if a retired one is no variant: a mistake in the
/// type, which no input causes.
fn emitted<H: CommandHandler>() -> Vec<types::EventType> {
    let variants = wire_enum::<H::Event>();
    if let Some(unknown) = H::RETIRED.iter().find(|name| !variants.contains(*name)) {
        panic!("RETIRED names `{unknown}`, which is no variant of the events: {}", variants.join(", "));
    }
    let emitted = variants.iter().filter(|variant| !H::RETIRED.contains(*variant));
    emitted.map(|variant| event_type(variant)).collect()
}

/// Folds events in order. An error leaves the state half folded; the host drops it.
pub(crate) fn evolve<H: CommandHandler>(
    state: &mut H,
    events: Vec<types::RecordedEvent>,
) -> Result<(), String> {
    for recorded in events {
        let (meta, data) = EventMeta::split(recorded);
        match decode_event(&meta.event_type, meta.version, &data) {
            Ok(event) => state.evolve_with(event, &meta.into()),
            Err(DecodeError::Unknown) => return Err(format!("{} is unknown to this plugin", meta.label())),
            Err(DecodeError::Unreadable(error)) => {
                return Err(format!("{} cannot be read: {error}", meta.label()));
            }
        }
    }
    Ok(())
}

pub(crate) fn decide<H: CommandHandler>(
    state: &H,
    command: types::Command,
) -> Result<Vec<types::NewEvent>, Rejection> {
    let content = decode_command(&command.type_, &command.data).map_err(|error| {
        let message = match error {
            DecodeError::Unknown => format!("there is no command `{}`", command.type_),
            DecodeError::Unreadable(error) => {
                format!("the data of `{}` cannot be read: {error}", command.type_)
            }
        };
        Rejection::new(INVALID_COMMAND.to_owned(), message)
    })?;
    match state.decide(content, &Context::from_command(command)) {
        Ok(events) => Ok(events.iter().map(new_event).collect()),
        Err(Rejection { code, message, details }) => {
            Err(Rejection { code: to_wire(&code).name.to_owned(), message, details })
        }
    }
}

fn new_event<E: serde::Serialize>(event: &E) -> types::NewEvent {
    let wire = to_wire(event);
    let (kind, version) = split_variant(wire.name);
    types::NewEvent {
        type_: kind.to_owned(),
        version,
        datacontenttype: None,
        extensions: Vec::new(),
        data: wire.data,
    }
}

/// Makes a [`CommandHandler`](crate::CommandHandler) the plugin's export. Use it once in a crate. The crate's name and
/// version become the plugin's; `name = "…"` sets another name.
///
/// In a native build the macro only checks the name and the type, so the crate is tested like any other.
#[macro_export]
macro_rules! export_command_handler {
    ($handler:ty) => {
        $crate::export_command_handler!($handler, name = ::core::env!("CARGO_PKG_NAME"));
    };
    ($handler:ty, name = $name:expr) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Plugin for Exported {
                type Role = $handler;
                const NAME: &'static str = $crate::export::checked_name($name);
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            }

            type Exports = $crate::export::Handler<Exported>;
            const _: &str = <Exported as $crate::export::Plugin>::NAME;
            const _: fn() -> $crate::bindings::command_handler::exports::pelton::plugin::command_handler::Descriptor =
                <Exports as $crate::bindings::command_handler::exports::pelton::plugin::command_handler::Guest>::describe;

            #[cfg(target_family = "wasm")]
            $crate::bindings::command_handler::export_bindings!(
                Exports with_types_in $crate::bindings::command_handler
            );
        };
    };
}
