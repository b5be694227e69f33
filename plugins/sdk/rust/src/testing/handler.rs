//! Given events, when a command, then events or a rejection.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::events::{Stream, data, variant, versioned};
use super::report::{Report, rejected};
use super::{IntoTestEvent, START, raw_event};
use crate::bindings::types;
use crate::export::{decide, describe_handler, evolve, to_wire};
use crate::{CommandHandler, Rejection, Timestamp};

/// Adds `given` to every [`CommandHandler`].
pub trait TestCommandHandler: CommandHandler {
    /// An entity to which these events happened.
    #[track_caller]
    fn given(events: impl IntoIterator<Item = Self::Event>) -> Given<Self> {
        Given { stream: Stream::default(), command: command(), handler: PhantomData }.and(events)
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
        principal: None,
        datacontenttype: Some("application/json".to_owned()),
        metadata: Vec::new(),
        context: Vec::new(),
        data: Vec::new(),
    }
}

impl<H: CommandHandler> Given<H> {
    /// Adds events after the given ones. With [`event`](super::event) their attributes can be set.
    #[track_caller]
    pub fn and<E: IntoTestEvent>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        for event in events {
            self.stream.push(event);
        }
        self
    }

    /// Adds one more event in its stored form: of an old version, of another handler, or unreadable.
    #[track_caller]
    pub fn recorded(self, event_type: &str, version: u32, data: &str) -> Self {
        self.and([raw_event(event_type, version, data)])
    }

    /// Sets the entity's id. The default is `test`.
    pub fn entity(mut self, id: &str) -> Self {
        id.clone_into(&mut self.command.entity);
        self
    }

    /// Sets the time of the command. The default is one hour after [`START`].
    pub fn at(mut self, time: Timestamp) -> Self {
        self.command.time = time.as_nanos();
        self
    }

    /// Sets the id of the command. The default is `command`.
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.command.id);
        self
    }

    /// Sets the process that the command belongs to. The default is `command`.
    pub fn correlation(mut self, id: &str) -> Self {
        id.clone_into(&mut self.command.correlation_id);
        self
    }

    /// Sets the cause of the command. The default is none.
    pub fn causation(mut self, id: &str) -> Self {
        self.command.causation_id = Some(id.to_owned());
        self
    }

    /// Sets who asked for the command, as a host that knows it would. The default is none.
    pub fn principal(mut self, name: &str) -> Self {
        self.command.principal = Some(name.to_owned());
        self
    }

    /// Adds an entry to what the host adds to the command.
    pub fn host(mut self, name: &str, value: &str) -> Self {
        self.command.context.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an entry to the command's metadata.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.command.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Decides a command.
    ///
    /// The command is encoded and decoded as in the host, so its enum also derives `Serialize`. If it does not, send
    /// the command with [`when_sent`](Self::when_sent).
    ///
    /// # Panics
    /// If a given event cannot be folded.
    #[track_caller]
    pub fn when(self, command: H::Command) -> Decision
    where
        H::Command: Serialize,
    {
        self.when_received(&command)
    }

    /// Decides a command in the form in which another plugin sends it, such as a saga.
    ///
    /// # Panics
    /// If a given event cannot be folded.
    #[track_caller]
    pub fn when_received<C: Serialize>(self, command: &C) -> Decision {
        let wire = to_wire(command);
        self.decide(wire.name.to_owned(), wire.data)
    }

    /// Decides a command in the form in which a client sends it: its type and its JSON.
    ///
    /// # Panics
    /// If a given event cannot be folded.
    #[track_caller]
    pub fn when_sent(self, command_type: &str, data: &str) -> Decision {
        self.decide(command_type.to_owned(), data.as_bytes().to_vec())
    }

    /// Asserts that the given events cannot be folded, and returns the cause.
    ///
    /// # Panics
    /// If they can be folded.
    #[track_caller]
    pub fn then_unreadable(self) -> String {
        match self.fold() {
            Err(cause) => cause,
            Ok(_) => panic!("every given event is readable"),
        }
    }

    #[track_caller]
    fn decide(self, type_: String, payload: Vec<u8>) -> Decision {
        let state = self.fold().unwrap_or_else(|cause| panic!("a given event cannot be folded: {cause}"));
        let mut when = json!({ type_.as_str(): data(&payload) });
        when["entity"] = self.command.entity.as_str().into();
        when["time"] = Timestamp::from_nanos(self.command.time).to_string().into();
        for (name, value) in &self.command.metadata {
            when[name] = value.as_str().into();
        }
        let given = Stream(self.events(), None).show();
        let result = decide(&state, types::Command { type_, data: payload, ..self.command });
        if let Ok(events) = &result {
            let retired = events.iter().map(|event| versioned(&event.type_, event.version));
            let retired = retired.into_iter().find(|name| H::RETIRED.contains(&name.as_str()));
            assert!(
                retired.is_none(),
                "it emits `{}`, which it lists as RETIRED",
                retired.unwrap_or_default()
            );
        }
        Decision { given, when, result }
    }

    /// The events of the entity. An event whose entity is not set is one of this entity.
    fn events(&self) -> Vec<types::RecordedEvent> {
        let mut events = self.stream.0.clone();
        for recorded in &mut events {
            if recorded.event.subject.as_deref() == Some("test") {
                recorded.event.subject = Some(self.command.entity.clone());
            }
        }
        events
    }

    #[track_caller]
    fn fold(&self) -> Result<H, String> {
        // A type that cannot be described cannot be loaded either.
        let _ = describe_handler::<H>("test", "0");
        let mut state = H::default();
        evolve(&mut state, self.events())?;
        Ok(match state.snapshot() {
            Some(snapshot) => H::restore(&snapshot)
                .unwrap_or_else(|cause| panic!("its own snapshot cannot be restored: {cause}")),
            None => state,
        })
    }
}

/// The answer of the rules.
#[derive(Debug)]
#[must_use]
pub struct Decision {
    given: Vec<Value>,
    when: Value,
    result: Result<Vec<types::NewEvent>, Rejection>,
}

impl Decision {
    /// Asserts that the command leads to exactly these events. An empty list means that it is accepted and changes
    /// nothing.
    ///
    /// # Panics
    /// If the command was rejected or led to other events. The message shows the input and both results side by side.
    #[track_caller]
    pub fn then<E: Serialize>(self, expected: impl IntoIterator<Item = E>) {
        let expected = expected.into_iter().map(|event| variant(&event)).collect();
        let (got, what) = match &self.result {
            Ok(events) => (shown(events), "other events happen than expected"),
            Err(rejection) => (rejected(rejection), "the command is rejected, not accepted as expected"),
        };
        self.report(what).assert(&expected, &got);
    }

    /// Asserts that a rule rejected the command with this code, and returns the rejection.
    ///
    /// # Panics
    /// If the command was accepted or rejected with another code. The message shows the input and both results side by
    /// side.
    #[track_caller]
    pub fn then_rejected(self, code: &str) -> Rejection {
        let expected = json!({ "rejected": { "code": code } });
        match &self.result {
            Err(rejection) if rejection.code == code => rejection.clone(),
            Err(rejection) => {
                let got = rejected(rejection);
                self.report("another rule rejects the command than expected").fail(&expected, &got)
            }
            Ok(events) => {
                let got = shown(events);
                self.report("the command is accepted, not rejected as expected").fail(&expected, &got)
            }
        }
    }

    fn report(self, what: &str) -> Report {
        Report { given: self.given, when: vec![self.when], what: what.to_owned() }
    }
}

fn shown(events: &[types::NewEvent]) -> Value {
    events.iter().map(|event| json!({ versioned(&event.type_, event.version): data(&event.data) })).collect()
}
