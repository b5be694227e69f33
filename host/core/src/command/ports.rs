//! What command handlers stand on: a store of events and outcomes, and a plugin in the role `command-handler`.

use std::future::Future;

use bytes::Bytes;

use super::backlinks::Backlinks;
use super::outcome::{Answer, Claim, OutcomeRecord, Registered, Revision};
use super::snapshot::SnapshotKey;
use crate::id::{CommandId, Sequence};
use crate::message::{Command, Event, EventType, Fingerprint, NewEvent, RecordedEvent, Rejection};
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, Unavailable};
use crate::subject::Entity;

/// An event of an entity, with what the host wrote beside it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event.
    pub recorded: RecordedEvent,
    /// The command that it followed from; events that others wrote have none.
    pub cause: Option<Cause>,
    /// The entity's earlier events; events that others wrote have none.
    pub history: Option<Backlinks>,
}

/// The command that an event followed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its id, which is the event's `causationid`.
    pub command: CommandId,
    /// Tells it from another command that reuses the id.
    pub fingerprint: Fingerprint,
}

/// One event on its way into a stream.
#[derive(Debug, Clone)]
pub struct EventToStore {
    /// The whole subject.
    pub subject: String,
    /// The event. Its id is the message id too.
    pub event: Event,
    /// The entity's earlier events.
    pub history: Backlinks,
    /// Tells the command from another that reuses its id.
    pub fingerprint: Fingerprint,
    /// The digest of the component that decided it.
    pub decided_by: String,
}

/// Why events were not appended, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The entity has events beyond the expected sequence. Nothing was stored.
    #[error("the entity has events beyond the expected sequence")]
    Conflict,
    /// Perhaps they were stored, perhaps not: read the entity again.
    #[error("it is unclear whether the events were stored: {0}")]
    Unclear(String),
    /// The server will never take them. Nothing was stored.
    #[error("the server refuses the events: {0}")]
    Refused(String),
}

/// What the flow of a command keeps: events, snapshots and outcomes.
pub trait CommandStore: Send + Sync + 'static {
    /// All events of the entity, in order, without a gap. The end may be behind what other writers just stored.
    fn load(&self, entity: &Entity) -> impl Future<Output = Result<Vec<StoredEvent>, Unavailable>> + Send;

    /// The entity's events after this sequence, in order, as the stream's leader has them now.
    fn since(
        &self,
        entity: &Entity,
        after: Sequence,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, Unavailable>> + Send;

    /// The snapshot kept under this key, if there is one. It may be an older one than the last that was kept.
    fn snapshot(&self, key: &SnapshotKey) -> impl Future<Output = Result<Option<Bytes>, Unavailable>> + Send;

    /// Keeps a snapshot in place of the one before.
    fn keep_snapshot(
        &self,
        key: &SnapshotKey,
        snapshot: Bytes,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Stores all of the events or none, if the entity's last event is at `expected`. Answers their sequences.
    fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        events: &[EventToStore],
    ) -> impl Future<Output = Result<Vec<Sequence>, AppendError>> + Send;

    /// The last entry under this id. On replicas it is the leader's.
    fn registered(&self, id: &CommandId) -> impl Future<Output = Result<Registered, Unavailable>> + Send;

    /// Claims the id, if the entry with revision `over` is still the last. Answers the claim's revision; none where
    /// somebody else has written since.
    fn claim(
        &self,
        id: &CommandId,
        claim: Claim,
        over: Revision,
    ) -> impl Future<Output = Result<Option<Revision>, Unavailable>> + Send;

    /// Records an outcome under its command's id, if the entry with revision `over` is still the last. Answers whether
    /// it was.
    fn record(
        &self,
        outcome: &OutcomeRecord,
        over: Revision,
    ) -> impl Future<Output = Result<bool, Unavailable>> + Send;

    /// Tells whoever waits. Best effort: who misses it reads the record.
    fn announce(&self, reply_to: &str, answer: &Answer) -> impl Future<Output = ()> + Send;
}

/// What a command handler says of itself.
#[derive(Debug, Clone)]
pub struct HandlerDescriptor {
    /// The plugin's own name and version. The name is part of the key of its snapshots.
    pub identity: Identity,
    /// The command types that it takes.
    pub commands: Vec<String>,
    /// The event types that it emits.
    pub events: Vec<EventType>,
    /// The version of the form of its snapshots.
    pub state_version: u32,
    /// Whether events may be folded before their sequences are known.
    pub decides_ahead: bool,
}

/// A plugin in the role `command-handler`.
pub trait HandlerPlugin: Plugin {
    /// The state of one entity in its sandbox.
    type Instance: EntityInstance;

    /// What it says of itself.
    fn descriptor(&self) -> &HandlerDescriptor;

    /// An entity without events.
    fn create(&self, entity_id: &str) -> impl Future<Output = Result<Self::Instance, PluginFault>> + Send;

    /// An entity from a snapshot; the inner error is the plugin's own word for why it cannot.
    fn restore(
        &self,
        entity_id: &str,
        snapshot: &[u8],
    ) -> impl Future<Output = Result<Result<Self::Instance, String>, PluginFault>> + Send;
}

/// The state of one entity in its sandbox. After a [`PluginFault`] it must be dropped.
pub trait EntityInstance: Send + 'static {
    /// Folds events, in order, each exactly once.
    fn evolve(&mut self, events: &[RecordedEvent]) -> impl Future<Output = Result<(), PluginFault>> + Send;

    /// What follows from the command.
    fn decide(
        &mut self,
        command: &Command,
    ) -> impl Future<Output = Result<Result<Vec<NewEvent>, Rejection>, PluginFault>> + Send;

    /// The state as bytes, if the plugin gives it.
    fn snapshot(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, PluginFault>> + Send;

    /// How much memory it holds, in bytes, as far as is known.
    fn memory_bytes(&self) -> usize;
}
