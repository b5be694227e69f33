//! The ports of a saga: a store of instances that also sends commands, and a plugin in the role `saga`.

use std::future::Future;

use bytes::Bytes;

use super::model::{Correlation, InputContext, Migrated, Reaction, SagaInput, SagaRecord, Timer};
use crate::id::{CommandId, InstanceId};
use crate::message::{EventType, Failure, Headers, RecordedEvent};
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, Unavailable};

/// A saga plugin's description of itself.
#[derive(Debug, Clone)]
pub struct SagaDescriptor {
    /// The plugin's own name and version, for people.
    pub identity: Identity,
    /// The event types that the plugin reads. An empty list means all types.
    pub events: Vec<EventType>,
    /// The command types that the plugin sends.
    pub commands: Vec<String>,
    /// The types of the timers that it sets. This host runs no timers yet, so it runs no saga that sets one.
    pub timers: Vec<String>,
    /// Whether it does not do its work without the outcomes of its commands. This host gives none yet, so it runs no saga
    /// that needs them.
    pub needs_outcomes: bool,
    /// The version of the form of the instance's state.
    pub state_version: u32,
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

    /// What an instance does about one input.
    fn react(
        &self,
        instance: &InstanceId,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> impl Future<Output = Result<Result<Reaction, Failure>, PluginFault>> + Send;

    /// The instance in the form that the plugin has now, from the form of this version.
    fn migrate(
        &self,
        instance: &InstanceId,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> impl Future<Output = Result<Migration, PluginFault>> + Send;
}

/// What came of the attempt to bring an instance into the present form; `None` if the plugin has no migration. The inner
/// error is the plugin's own word for why it cannot.
pub type Migration = Option<Result<Migrated, String>>;

/// The store of one saga's instances. It also sends the saga's commands.
pub trait SagaStore: Send + Sync + 'static {
    /// Reads the instance from the leader, with the revision for the next write (0 if the instance was never stored).
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

    /// Puts a command on the command stream. Sending it again is harmless, because its id is the same. A command whose
    /// id another command has is refused.
    fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}
