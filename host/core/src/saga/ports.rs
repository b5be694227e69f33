//! What sagas stand on: a store of instances and a way to send commands, and a plugin in the role `saga`.

use std::future::Future;

use bytes::Bytes;

use super::model::{Correlation, Reaction, SagaInput, SagaRecord};
use crate::id::{CommandId, InstanceId};
use crate::message::{EventType, Failure, Headers, RecordedEvent};
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, Unavailable};

/// What a saga says of itself.
#[derive(Debug, Clone)]
pub struct SagaDescriptor {
    /// The plugin's own name and version, for people.
    pub identity: Identity,
    /// The event types that it reads; an empty list means all.
    pub events: Vec<EventType>,
    /// The command types that it sends.
    pub commands: Vec<String>,
    /// The version of the form of its state.
    pub state_version: u32,
    /// What it needs beside events.
    pub needs: SagaNeeds,
}

/// What a saga needs beside events. This host gives neither yet, so it runs none that needs one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SagaNeeds {
    /// Its reactions set timers.
    pub timers: bool,
    /// It does not do its work without the outcomes of its commands.
    pub outcomes: bool,
}

/// A plugin in the role `saga`.
pub trait SagaPlugin: Plugin {
    /// What it says of itself.
    fn descriptor(&self) -> &SagaDescriptor;

    /// The instances that an event concerns.
    fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> impl Future<Output = Result<Result<Vec<Correlation>, Failure>, PluginFault>> + Send;

    /// What an instance does about one input.
    fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
    ) -> impl Future<Output = Result<Result<Reaction, Failure>, PluginFault>> + Send;
}

/// Where one saga keeps its instances, and how it sends commands.
pub trait SagaStore: Send + Sync + 'static {
    /// The instance as it is stored, as the leader has it, with the revision that guards the next write (0: none).
    fn load(
        &self,
        instance: &InstanceId,
    ) -> impl Future<Output = Result<(Option<SagaRecord>, u64), Unavailable>> + Send;

    /// Stores the instance if it is still at this revision.
    fn save(
        &self,
        instance: &InstanceId,
        record: &SagaRecord,
        revision: u64,
    ) -> impl Future<Output = Result<u64, CommitError>> + Send;

    /// Puts a command on the command stream. Sending it again is harmless: its id is the same. Where another command has
    /// its id it is refused.
    fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}
