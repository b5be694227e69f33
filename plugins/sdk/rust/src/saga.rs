//! Sagas: processes over several entities that turn events into commands.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

    /// The timers that the plugin sets: an enum whose variants are the types of timers. What a variant holds comes back
    /// when the timer goes off. [`NoTimers`] for a saga that sets none.
    type Timer: Serialize + DeserializeOwned;

    /// The state of an instance. It is stored as JSON.
    type State: Serialize + DeserializeOwned;

    /// The version of the form of the state and of the timers.
    const STATE_VERSION: u32 = 1;

    /// Whether the plugin reacts to the outcomes of its commands.
    const OUTCOMES: Outcomes = Outcomes::Unused;

    /// Checks the [`settings`](crate::settings), when the plugin is loaded. The host does not run a plugin that cannot work
    /// with them. `react` may depend on settings, `correlate` may not.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn check_settings() -> Result<(), String> {
        Ok(())
    }

    /// The instances that the event concerns, each once, at most 16.
    fn correlate(event: &Self::Event, meta: &EventMeta) -> Vec<Correlation>;

    /// What the instance does about one input. No state means that this input starts the instance.
    ///
    /// # Errors
    /// Why the instance cannot react. When a failure outlasts its attempts, the host sets the input aside and parks the
    /// instance's later inputs behind it.
    fn react(
        state: Option<Self::State>,
        input: Input<Self::Event, Self::Timer>,
        context: &InputContext,
    ) -> Result<Reaction<Self>, Failure>;
}

/// Takes over the instances of another version of a saga, whose [`STATE_VERSION`](Saga::STATE_VERSION) differs. Export it with
/// [`export_saga_migration!`](crate::export_saga_migration) beside the saga.
///
/// Without it a changed state still has to read the old form.
pub trait SagaMigration: Saga {
    /// The instance in the present form, before its next input.
    ///
    /// # Errors
    /// Why the instance cannot be taken over. The host sets the input aside with this text, and leaves the instance as it
    /// is.
    fn migrate(old: OldInstance) -> Result<Migrated<Self>, String>;
}

/// An instance as another version of the saga left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldInstance {
    /// Its id.
    pub instance: String,
    /// The state version that wrote it: older, or newer after a rollback.
    pub version: u32,
    /// The timers that are set.
    pub timers: Vec<OldTimer>,
    pub(crate) state: Vec<u8>,
}

impl OldInstance {
    /// The state in its old form.
    ///
    /// # Errors
    /// That it is not a `T`, with serde's message.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, String> {
        let from = self.version;
        serde_json::from_slice(&self.state)
            .map_err(|e| format!("the state of version {from} cannot be read: {e}"))
    }
}

/// A timer as another version of the saga set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldTimer {
    /// Its id.
    pub id: String,
    /// Its type.
    pub timer_type: String,
    /// When it is due.
    pub due: Timestamp,
    pub(crate) data: Vec<u8>,
}

impl OldTimer {
    /// The data in its old form.
    ///
    /// # Errors
    /// That it is not a `T`, with serde's message.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.data).map_err(|e| format!("the timer {} cannot be read: {e}", self.id))
    }
}

/// An instance in the present form.
#[must_use]
#[derive(Debug)]
pub struct Migrated<S: Saga> {
    pub(crate) state: S::State,
    pub(crate) timers: Vec<TimerChange>,
}

impl<S: Saga> Migrated<S> {
    /// The instance with this state and without timers.
    pub fn new(state: S::State) -> Self {
        Self { state, timers: Vec::new() }
    }

    /// A timer goes on, in the present form. Those that are not named here are cancelled.
    ///
    /// # Panics
    /// If serde cannot write the timer as JSON.
    pub fn timer(mut self, id: impl Into<String>, due: Timestamp, timer: &S::Timer) -> Self {
        self.timers.push(TimerChange::set(id.into(), due, timer));
        self
    }
}

/// The timers of a saga that sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoTimers {}

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
    pub(crate) relation: Relation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Start,
    StartOnce,
    Advance,
}

impl Correlation {
    /// The event starts the instance if it does not exist, and is an ordinary input if it does. An instance that has
    /// ended starts anew.
    ///
    /// The id of an instance has 1 to 128 bytes and no `.`, `*`, `>`, blank or control character.
    #[must_use]
    pub fn start(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), relation: Relation::Start }
    }

    /// The event starts the instance if there was never one of this id, and is an ordinary input if the instance exists.
    /// If the instance has ended, the host ignores the event.
    #[must_use]
    pub fn start_once(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), relation: Relation::StartOnce }
    }

    /// The event is an input to an instance that exists. If the instance does not exist, the host ignores the event.
    #[must_use]
    pub fn advance(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), relation: Relation::Advance }
    }
}

/// The one thing that an instance reacts to.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<E, T = NoTimers> {
    /// An event that [`Saga::correlate`] gave to it.
    Event(E, EventMeta),
    /// A timer of the instance went off. It is not set any more.
    Timer(T, DueTimer),
    /// A command of the instance ended. The saga has to set [`OUTCOMES`](Saga::OUTCOMES).
    Outcome(Outcome),
}

/// What comes with every input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputContext {
    /// The instance's id.
    pub instance: String,
    /// The input's id: no other input of the instance has it, and it is the same on every try.
    pub input_id: String,
    /// When the input came to be: when the stream stored the event, when the timer was handed over, when the outcome
    /// was recorded. The time is the same on every try.
    pub time: Timestamp,
    /// The process that the input belongs to. The host passes it on to the commands of the reaction.
    pub correlation_id: String,
    /// The host's additions. Host 0.1 adds nothing.
    pub host: Vec<(String, String)>,
}

/// The attributes of a timer that went off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTimer {
    /// Its id, unique in the instance.
    pub id: String,
    /// When the timer was due.
    pub due: Timestamp,
    /// When the host handed it over: at [`due`](Self::due) or later, never before.
    pub time: Timestamp,
}

/// How a command of the instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The id that the host gave the command.
    pub command_id: String,
    /// The command's type: the name of its variant.
    pub command_type: String,
    /// The reference that the instance gave the command.
    pub reference: Option<String>,
    /// When the command ended.
    pub time: Timestamp,
    /// How the command ended.
    pub result: CommandResult,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandResult {
    /// The command took effect. The ids of its events. Final.
    Accepted(Vec<String>),
    /// A rule forbids the command. Final.
    Rejected(Rejection),
    /// The command was set aside as a dead letter, with this cause. Not final: an operator may have it decided after
    /// all, and another outcome of the same command follows. Do not undo anything yet.
    SetAside(String),
    /// The host has given the command up, with this cause. It had no effect and will have none. Final.
    Failed(String),
}

impl CommandResult {
    /// Whether no other outcome of the command follows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::SetAside(_))
    }
}

/// A command on its way, with what the host passes on beside it.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing<C> {
    pub(crate) command: C,
    pub(crate) reference: Option<String>,
    pub(crate) metadata: Vec<(String, String)>,
}

impl<C> Outgoing<C> {
    /// The command alone.
    pub fn new(command: C) -> Self {
        Self { command, reference: None, metadata: Vec::new() }
    }

    /// What the instance calls the command, at most 256 bytes. The [`Outcome`] carries it; no handler sees it.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Adds an entry to the metadata that the handler sees. A name has 1 to 20 characters `a`-`z`, `0`-`9`.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }
}

impl<C> From<C> for Outgoing<C> {
    fn from(command: C) -> Self {
        Self::new(command)
    }
}

/// The reaction of an instance: its next state, commands and timers, which take effect together or not at all.
///
/// ```
/// # use pelton_plugin::{Correlation, EventMeta, Failure, Input, InputContext, Outgoing, Reaction, Saga};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] enum Command { Remind {} }
/// # #[derive(serde::Serialize, serde::Deserialize)] enum Timer { Again { tries: u32 } }
/// # struct Reminder;
/// # impl Saga for Reminder {
/// #     type Event = Command; type Command = Command; type Timer = Timer; type State = u32;
/// #     fn correlate(_: &Command, _: &EventMeta) -> Vec<Correlation> { vec![] }
/// #     fn react(_: Option<u32>, _: Input<Command, Timer>, context: &InputContext) -> Result<Reaction<Self>, Failure> {
/// let tomorrow = context.time + Duration::from_secs(24 * 60 * 60);
/// Ok(Reaction::keep(1)
///     .send(Command::Remind {})
///     .send(Outgoing::new(Command::Remind {}).reference("second"))
///     .set_timer("again", tomorrow, &Timer::Again { tries: 1 }))
/// #     }
/// # }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Reaction<S: Saga> {
    pub(crate) state: Option<S::State>,
    pub(crate) commands: Vec<Outgoing<S::Command>>,
    pub(crate) timers: Vec<TimerChange>,
}

#[derive(Debug)]
pub(crate) enum TimerChange {
    Set { id: String, due: Timestamp, name: &'static str, data: Vec<u8> },
    Cancel(String),
}

impl TimerChange {
    fn set<T: Serialize>(id: String, due: Timestamp, timer: &T) -> Self {
        let wire = crate::export::to_wire(timer);
        Self::Set { id, due, name: wire.name, data: wire.data }
    }
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

    /// Sends a command, after the commands that were added before. [`Outgoing`] gives it a reference and metadata.
    pub fn send(mut self, command: impl Into<Outgoing<S::Command>>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Sends several commands, after those that were added before.
    pub fn send_all<O: Into<Outgoing<S::Command>>>(mut self, commands: impl IntoIterator<Item = O>) -> Self {
        self.commands.extend(commands.into_iter().map(Into::into));
        self
    }

    /// Sends what undoes the steps that were taken, the last step first.
    pub fn undo(self, steps: crate::Undo<S::Command>) -> Self {
        self.send_all(steps.into_commands())
    }

    /// Sets a timer, or sets it again under the same id. A timer whose time has passed goes off at once. An instance has at
    /// most 100 timers at a time.
    ///
    /// # Panics
    /// If serde cannot write the timer as JSON (a map whose keys are not strings, for example).
    pub fn set_timer(mut self, id: impl Into<String>, due: Timestamp, timer: &S::Timer) -> Self {
        self.timers.push(TimerChange::set(id.into(), due, timer));
        self
    }

    /// Cancels a timer. Cancelling a timer that is not set is not an error.
    pub fn cancel_timer(mut self, id: impl Into<String>) -> Self {
        self.timers.push(TimerChange::Cancel(id.into()));
        self
    }
}
