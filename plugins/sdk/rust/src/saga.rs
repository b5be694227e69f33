//! Sagas: processes over several entities that turn events into commands.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{EventMeta, Failure, Rejection, Timestamp};

/// A process over several entities, with one instance for each run of it.
///
/// For each input the host stores the new state together with the commands, sends the commands, and only then
/// acknowledges the input. A command's id is the same on every try. Both functions are pure.
pub trait Saga: Sized + 'static {
    /// The events that the plugin reads: an enum whose variants are the event types. The host skips all others.
    type Event: DeserializeOwned;

    /// The commands that the plugin sends: an enum whose variants are the command types. The descriptor takes their
    /// names from `Deserialize`.
    type Command: Serialize + DeserializeOwned;

    /// The state of an instance. It is stored as JSON.
    type State: Serialize + DeserializeOwned;

    /// The version of the form of the state.
    const STATE_VERSION: u32 = 1;

    /// Whether the plugin's reactions set timers. If this is `false`, a saga that sets one does not compile.
    ///
    /// Host 0.1 does not run timers yet: `pelton check` and the start refuse a saga that says `true`.
    const TIMERS: bool = false;

    /// Whether the plugin reacts to the outcomes of its commands.
    ///
    /// Host 0.1 passes no outcomes yet: `pelton check` and the start refuse a saga that says
    /// [`Required`](Outcomes::Required).
    const OUTCOMES: Outcomes = Outcomes::Unused;

    /// The instances that the event concerns, each once, at most 16.
    fn correlate(event: &Self::Event, meta: &EventMeta) -> Vec<Correlation>;

    /// What the instance does about one input. No state means that this input starts the instance.
    ///
    /// # Errors
    /// Why the instance cannot react. When a failure outlasts its attempts, the host sets the input aside and parks the
    /// instance's later inputs behind it.
    fn react(
        instance: &str,
        state: Option<Self::State>,
        input: Input<Self::Event>,
    ) -> Result<Reaction<Self>, Failure>;
}

/// How a saga uses the outcomes of its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcomes {
    /// It reads no outcomes.
    Unused,
    /// It reacts to the outcomes that it gets, and works without them.
    Optional,
    /// It does not work without outcomes. A host that passes none does not run it.
    Required,
}

/// An instance that an event concerns, and what the event means to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    pub(crate) instance: String,
    pub(crate) starts: bool,
}

impl Correlation {
    /// The event starts the instance if it does not exist, and is an ordinary input if it does.
    ///
    /// The id of an instance has 1 to 128 bytes and no `.`, `*`, `>`, blank or control character.
    #[must_use]
    pub fn start(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), starts: true }
    }

    /// The event is an input to an instance that exists. If the instance does not exist, the host ignores the event.
    #[must_use]
    pub fn advance(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), starts: false }
    }
}

/// The one thing that an instance reacts to.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<E> {
    /// An event that [`Saga::correlate`] gave to it.
    Event(E, EventMeta),
    /// A timer of the instance went off. The saga has to set [`TIMERS`](Saga::TIMERS). Host 0.1 passes none yet.
    Timer(Timer),
    /// A command of the instance ended. The saga has to set [`OUTCOMES`](Saga::OUTCOMES). Host 0.1 passes none yet.
    Outcome(Outcome),
}

/// A timer that went off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Its id, unique in the instance.
    pub id: String,
    /// When the timer was due. It goes off at that time or later, never before.
    pub due: Timestamp,
    pub(crate) data: Vec<u8>,
}

impl Timer {
    /// The data that [`Reaction::set_timer`] was given.
    ///
    /// # Errors
    /// [`Failure::Invalid`] if the data is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.data).map_err(|error| {
            Failure::Invalid(format!("the data of timer {} cannot be read: {error}", self.id))
        })
    }
}

/// How a command of the instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The id that the host gave the command.
    pub command_id: String,
    /// The command's type: the name of its variant.
    pub command_type: String,
    /// The metadata that the instance sent with it.
    pub metadata: Vec<(String, String)>,
    /// When the command ended.
    pub time: Timestamp,
    /// How the command ended.
    pub result: CommandResult,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandResult {
    /// The command took effect. The ids of its events.
    Accepted(Vec<String>),
    /// A rule forbids the command.
    Rejected(Rejection),
    /// The command was set aside as a dead letter, with this cause. An operator may retry it.
    Failed(String),
}

/// The reaction of an instance: its next state, commands and timers, which take effect together or not at all.
///
/// ```
/// # use pelton_plugin::{Correlation, EventMeta, Failure, Input, Reaction, Saga, Timestamp};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] enum Command { Remind {} }
/// # struct Reminder;
/// # impl Saga for Reminder {
/// #     type Event = Command; type Command = Command; type State = u32; const TIMERS: bool = true;
/// #     fn correlate(_: &Command, _: &EventMeta) -> Vec<Correlation> { vec![] }
/// #     fn react(_: &str, _: Option<u32>, _: Input<Command>) -> Result<Reaction<Self>, Failure> {
/// #     let now = Timestamp::default();
/// Ok(Reaction::keep(1).send(Command::Remind {}).set_timer("again", now + Duration::from_secs(3600), &()))
/// #     }
/// # }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Reaction<S: Saga> {
    pub(crate) state: Option<S::State>,
    pub(crate) commands: Vec<NewCommand<S::Command>>,
    pub(crate) timers: Vec<TimerChange>,
}

#[derive(Debug)]
pub(crate) struct NewCommand<C> {
    pub(crate) command: C,
    pub(crate) metadata: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) enum TimerChange {
    Set { id: String, due: Timestamp, data: Vec<u8> },
    Cancel(String),
}

impl<S: Saga> Reaction<S> {
    /// The instance goes on with this state.
    pub fn keep(state: S::State) -> Self {
        Self { state: Some(state), commands: Vec::new(), timers: Vec::new() }
    }

    /// The instance ends: the host cancels its timers, and its id may start a new instance.
    pub fn end() -> Self {
        Self { state: None, commands: Vec::new(), timers: Vec::new() }
    }

    /// Sends a command, after the commands that were added before.
    pub fn send(self, command: S::Command) -> Self {
        self.send_with(command, Vec::new())
    }

    /// Sends a command with metadata. The handler sees the metadata, and the command's [`Outcome`] carries it. Names
    /// have 1 to 20 characters `a`-`z`, `0`-`9`.
    pub fn send_with(mut self, command: S::Command, metadata: Vec<(String, String)>) -> Self {
        self.commands.push(NewCommand { command, metadata });
        self
    }

    /// Sets a timer, or sets it again. A timer whose time has passed goes off at once. The timer carries `data`. The
    /// saga has to set [`TIMERS`](Saga::TIMERS); host 0.1 does not run such a saga yet.
    ///
    /// # Panics
    /// If serde cannot write `data` as JSON (a map whose keys are not strings, for example).
    pub fn set_timer<T: Serialize>(mut self, id: impl Into<String>, due: Timestamp, data: &T) -> Self {
        const { assert!(S::TIMERS, "a saga that sets timers says so: `const TIMERS: bool = true;`") };
        let data = serde_json::to_vec(data).expect("the data of a timer has a JSON form");
        self.timers.push(TimerChange::Set { id: id.into(), due, data });
        self
    }

    /// Cancels a timer. Cancelling a timer that is not set is not an error.
    pub fn cancel_timer(mut self, id: impl Into<String>) -> Self {
        const { assert!(S::TIMERS, "a saga that cancels timers says so: `const TIMERS: bool = true;`") };
        self.timers.push(TimerChange::Cancel(id.into()));
        self
    }
}
