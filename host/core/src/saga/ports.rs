//! The ports of a saga: a store of instances, timers and inputs, which also sends commands, and a plugin in the role
//! `saga`.

use std::future::Future;

use bytes::Bytes;

use super::instance::{ArmedTimer, Instance};
use super::lead::{SagaPosition, Start};
use super::model::{Correlation, InputContext, Migrated, Reaction, SagaInput, Timer};
use crate::consumer::EventFeed;
use crate::id::{CommandId, InstanceId, Sequence};
use crate::message::{EventType, Failure, Headers, RecordedEvent};
use crate::outcomes::CommandReport;
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, ReadError, Unavailable};

/// A saga plugin's description of itself.
#[derive(Debug, Clone)]
pub struct SagaDescriptor {
    /// The plugin's own name and version, for people.
    pub identity: Identity,
    /// The event types that the plugin reads. An empty list means all types.
    pub events: Vec<EventType>,
    /// The command types that the plugin sends.
    pub commands: Vec<String>,
    /// The types of the timers that it sets.
    pub timers: Vec<String>,
    /// Whether it takes the outcomes of its commands.
    pub takes_outcomes: bool,
    /// The version of the form of the instance's state.
    pub state_version: u32,
    /// Whether the plugin takes over the instances of other versions.
    pub migrates: bool,
}

/// A plugin in the role `saga`.
pub trait SagaPlugin: Plugin {
    /// The plugin's description of itself.
    fn descriptor(&self) -> &SagaDescriptor;

    /// The instances that an event concerns.
    fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> impl Future<Output = Result<Result<Vec<Correlation>, Failure>, PluginFault>> + Send;

    /// An instance's reaction to one input.
    fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> impl Future<Output = Result<Result<Reaction, Failure>, PluginFault>> + Send;

    /// Brings an instance from the form of this version into the form that the plugin has now.
    fn migrate(
        &self,
        instance: &InstanceId,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> impl Future<Output = Result<Migration, PluginFault>> + Send;
}

/// The result of bringing an instance into the present form. `None` if the plugin has no migration. The inner error is
/// the plugin's reason why it cannot.
pub type Migration = Option<Result<Migrated, String>>;

/// A change of a timer, stored together with the instance that says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerWrite {
    /// The timer is armed, in place of one of the same id.
    Set {
        /// Its id.
        id: String,
        /// When it goes off, and what tells it from others.
        armed: ArmedTimer,
        /// The plugin's data.
        data: Bytes,
    },
    /// The timer of this id is no longer armed.
    Cancel {
        /// Its id.
        id: String,
    },
}

/// The result of sending a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The command is logged, now or before.
    Logged,
    /// No handler takes commands of its type, so that no host will ever report how it ended.
    NobodyTakes,
}

/// The store of one saga. It holds the instances, their timers, the saga's own inputs, and how far the saga has read.
/// It also sends the saga's commands.
pub trait SagaStore: Send + Sync + 'static {
    /// Reads the instance from the leader, with the revision for the next write (0 if nothing is stored).
    fn load(
        &self,
        instance: &InstanceId,
    ) -> impl Future<Output = Result<(Option<Instance>, u64), ReadError>> + Send;

    /// Stores the instance and changes its timers if it is still at this revision: all or nothing.
    fn save(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> impl Future<Output = Result<u64, CommitError>> + Send;

    /// The data of a timer, whether it has gone off or not. `None` if its message is lost.
    fn timer_data(
        &self,
        instance: &InstanceId,
        id: &str,
        armed: &ArmedTimer,
    ) -> impl Future<Output = Result<Option<Bytes>, Unavailable>> + Send;

    /// Logs a command. Sending it again is harmless, because its id is the same. A command with another command's id is
    /// refused.
    fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> impl Future<Output = Result<Sent, CommitError>> + Send;

    /// Stores how a command ended as an input of the saga. Storing it again changes nothing.
    fn report(&self, report: &CommandReport) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// How far the saga has read and which host reads, from the leader, with the revision for the next write. `None` if
    /// no host has ever read.
    fn position(&self) -> impl Future<Output = Result<Option<(SagaPosition, u64)>, Unavailable>> + Send;

    /// Stores how far the saga has read, if no host has done so since this revision.
    fn keep_position(
        &self,
        position: &SagaPosition,
        revision: u64,
    ) -> impl Future<Output = Result<u64, CommitError>> + Send;

    /// The place in the event stream after which a saga with this start begins to read.
    fn begin(&self, start: &Start) -> impl Future<Output = Result<Sequence, Unavailable>> + Send;

    /// Deletes the saga's own inputs up to this one. All of them have been handled.
    fn let_go(&self, up_to: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// The feeds of one saga.
pub trait SagaFeeds: Send + Sync + 'static {
    /// The type of both feeds.
    type Feed: EventFeed + 'static;

    /// The events of these types, and perhaps others. An empty list means all types.
    fn events(&self, types: &[EventType]) -> Self::Feed;

    /// The saga's own inputs.
    fn own(&self) -> Self::Feed;

    /// The stream that holds the saga's own inputs.
    fn own_stream(&self) -> String;

    /// Completes once the saga has to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}
