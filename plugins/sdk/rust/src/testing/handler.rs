//! Given events, when a command, then events or a rejection.

use std::marker::PhantomData;
use std::time::Duration;

use super::{START, Stream, text};
use crate::bindings::types;
use crate::codec::split_variant;
use crate::export::{decide, decide_read, describe_handler, evolve, to_wire};
use crate::{CommandHandler, Context, Rejection, Timestamp};

/// Adds `given` to every [`CommandHandler`].
pub trait TestCommandHandler: CommandHandler {
    /// An entity to which these events happened.
    fn given(events: impl IntoIterator<Item = Self::Event>) -> Given<Self> {
        let mut stream = Stream::default();
        for event in events {
            stream.push(&event);
        }
        Given { stream, command: command(), handler: PhantomData }
    }
}

impl<H: CommandHandler> TestCommandHandler for H {}

/// An entity, before a command.
#[derive(Debug)]
#[must_use]
pub struct Given<H> {
    stream: Stream,
    command: types::Command,
    handler: PhantomData<fn() -> H>,
}

fn command() -> types::Command {
    types::Command {
        id: "command".to_owned(),
        type_: String::new(),
        entity: "test".to_owned(),
        time: (START + Duration::from_secs(3600)).as_nanos(),
        correlation_id: "command".to_owned(),
        causation_id: None,
        datacontenttype: Some("application/json".to_owned()),
        metadata: Vec::new(),
        data: Vec::new(),
    }
}

impl<H: CommandHandler> Given<H> {
    /// One more event, as it stands in a stream: of an old version, of another handler, or unreadable.
    pub fn recorded(mut self, event_type: &str, version: u32, data: &str) -> Self {
        self.stream.push_raw(event_type, version, data.as_bytes().to_vec());
        self
    }

    /// The entity's id, `test` unless said.
    pub fn entity(mut self, id: &str) -> Self {
        id.clone_into(&mut self.command.entity);
        self
    }

    /// The time of the command, one hour after [`START`] unless said.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.command.time = time.as_nanos();
        self
    }

    /// One more entry of the command's metadata.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.command.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the rules say to the command.
    ///
    /// # Panics
    /// If an event given before cannot be folded.
    #[track_caller]
    pub fn when(self, command: H::Command) -> Decision {
        let state = self.state();
        let context = Context::from_command(self.command);
        Decision(decide_read(&state, command, &context))
    }

    /// What the plugin says to a command as a client sends it: its type and its JSON.
    ///
    /// # Panics
    /// If an event given before cannot be folded.
    #[track_caller]
    pub fn when_sent(self, command_type: &str, data: &str) -> Decision {
        let state = self.state();
        let (type_, data) = (command_type.to_owned(), data.as_bytes().to_vec());
        Decision(decide(&state, types::Command { type_, data, ..self.command }))
    }

    /// Asserts that the given events cannot be folded. Answers why.
    ///
    /// # Panics
    /// If they can.
    #[track_caller]
    pub fn then_unreadable(self) -> String {
        match self.fold() {
            Err(cause) => cause,
            Ok(_) => panic!("every given event is readable"),
        }
    }

    #[track_caller]
    fn state(&self) -> H {
        self.fold().unwrap_or_else(|cause| panic!("a given event cannot be folded: {cause}"))
    }

    #[track_caller]
    fn fold(&self) -> Result<H, String> {
        // A type that cannot be described could not be loaded either.
        let _ = describe_handler::<H>("test", "0");
        let mut state = H::default();
        evolve(&mut state, self.stream.0.clone())?;
        Ok(match state.snapshot() {
            Some(snapshot) => H::restore(&snapshot)
                .unwrap_or_else(|cause| panic!("its own snapshot cannot be restored: {cause}")),
            None => state,
        })
    }
}

/// What the rules said.
#[derive(Debug)]
#[must_use]
pub struct Decision(Result<Vec<types::NewEvent>, Rejection>);

impl Decision {
    /// Asserts that exactly these events happen. None means: accepted, and nothing changes.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn then<E: serde::Serialize>(self, expected: impl IntoIterator<Item = E>) {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|event| {
                let wire = to_wire(&event);
                let (kind, version) = split_variant(wire.name);
                (kind.to_owned(), version, text(&wire.data))
            })
            .collect();
        match self.0 {
            Ok(events) => {
                let events: Vec<_> =
                    events.into_iter().map(|event| (event.type_, event.version, text(&event.data))).collect();
                assert_eq!(events, expected, "left is what happened, right is what was expected");
            }
            Err(rejection) => panic!("it was rejected: {rejection:?}\nexpected: {expected:?}"),
        }
    }

    /// Asserts that a rule said no, with this code. Answers with the rejection.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn then_rejected(self, code: &str) -> Rejection {
        match self.0 {
            Err(rejection) => {
                assert_eq!(
                    rejection.code, code,
                    "left is the code of {rejection:?}, right is what was expected"
                );
                rejection
            }
            Ok(events) => {
                let events: Vec<_> =
                    events.into_iter().map(|event| (event.type_, text(&event.data))).collect();
                panic!("it was accepted: {events:?}\nexpected: rejected with `{code}`")
            }
        }
    }
}
