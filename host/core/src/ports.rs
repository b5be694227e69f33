//! What the flows stand on. Each port has two implementations: NATS or wasm at the edge, and one in memory for tests.

use std::future::Future;

use bytes::Bytes;

use crate::history::History;
use crate::id::{CommandId, InstanceId, Sequence};
use crate::message::{
    Command, Event, EventType, Failure, Fingerprint, Headers, Incoming, NewEvent, RecordedEvent, Rejection,
};
use crate::outcome::{Answer, Claim, OutcomeRecord, Registered, Revision};
use crate::saga::{Correlation, Reaction, SagaInput, SagaRecord};
use crate::settle::Settlement;
use crate::snapshot::SnapshotKey;
use crate::subject::Entity;
use crate::view::{Checkpoint, ViewChange, ViewKey};

/// The store cannot be reached, or did not answer in time. Whether it did what it was asked is unknown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct Unavailable {
    /// What was asked of it, with the stream or subject.
    pub doing: String,
    /// What came instead of an answer.
    pub cause: String,
}

/// An event of an entity, with what the host wrote beside it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event.
    pub recorded: RecordedEvent,
    /// The command that it followed from; events that others wrote have none.
    pub cause: Option<Cause>,
    /// The entity's earlier events; events that others wrote have none.
    pub history: Option<History>,
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
    pub history: History,
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

/// Messages from a durable consumer. Each stays the consumer's until it is settled.
pub trait Inbox: Send {
    /// One message, held.
    type Delivery: Delivery;

    /// The next message; none when the inbox has been stopped. Waits while the server is away. Cancel safe: what is
    /// not returned is not lost.
    fn next(&mut self) -> impl Future<Output = Option<Self::Delivery>> + Send;
}

/// A message that is held until it is settled, or until the server gives it to somebody else.
pub trait Delivery: Send + 'static {
    /// The message.
    fn message(&self) -> &Incoming;

    /// Tells the server that it is still being worked on.
    fn progress(&self) -> impl Future<Output = ()> + Send;

    /// Lets go of it. A settlement that gets lost means a redelivery.
    fn settle(self, settlement: Settlement) -> impl Future<Output = ()> + Send;
}

/// A plugin did something that no plugin may do. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin} ({digest}): {what}{}", diagnostics(.backtrace, .log))]
pub struct PluginFault {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The digest of its component.
    pub digest: String,
    /// Whether the same call can be expected to fail again on a fresh instance.
    pub kind: FaultKind,
    /// What it did.
    pub what: String,
    /// The guest's stack, innermost first, where there is one.
    pub backtrace: Vec<String>,
    /// What it logged during the call, bounded.
    pub log: Vec<String>,
}

fn diagnostics(backtrace: &[String], log: &[String]) -> String {
    let block = |title: &str, lines: &[String]| match lines {
        [] => String::new(),
        _ => format!("\n{title}:\n  {}", lines.join("\n  ")),
    };
    block("guest backtrace", backtrace) + &block("guest log", log)
}

/// What to expect of another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It trapped, ran out of time or out of memory: another try on a fresh instance may work.
    Broke,
    /// It returned something that the contract forbids, or said that the input will never work.
    Refused,
}

impl Failure {
    /// As a fault of the plugin that answered it.
    pub fn into_fault(self, plugin: &impl Plugin) -> PluginFault {
        match self {
            Self::Invalid(cause) => plugin.fault(cause),
            Self::Other(what) => PluginFault { kind: FaultKind::Broke, ..plugin.fault(what) },
            Self::Retry(_) => {
                PluginFault { kind: FaultKind::Broke, ..plugin.fault("it asked to be tried again") }
            }
        }
    }
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

/// A plugin's own name and version, for people.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Which component does the work, for events, outcomes and errors.
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's name in the configuration.
    fn name(&self) -> &str;

    /// The digest of its component: `sha256:` and 64 hexadecimal digits.
    fn digest(&self) -> &str;

    /// A fault of this plugin that the host found in what it returned.
    fn fault(&self, what: impl Into<String>) -> PluginFault
    where
        Self: Sized,
    {
        PluginFault {
            plugin: self.name().to_owned(),
            digest: self.digest().to_owned(),
            kind: FaultKind::Refused,
            what: what.into(),
            backtrace: Vec::new(),
            log: Vec::new(),
        }
    }
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

/// What a projection says of itself.
#[derive(Debug, Clone)]
pub struct ProjectionDescriptor {
    /// The plugin's own name and version, for people.
    pub identity: Identity,
    /// The event types that it reads; an empty list means all.
    pub events: Vec<EventType>,
    /// The version of the form of the view.
    pub view_version: u32,
}

/// A plugin in the role `projection`.
pub trait ProjectionPlugin: Plugin {
    /// What it says of itself.
    fn descriptor(&self) -> &ProjectionDescriptor;

    /// The keys that each event touches.
    fn keys(
        &self,
        events: &[RecordedEvent],
    ) -> impl Future<Output = Result<Result<Vec<Vec<String>>, Failure>, PluginFault>> + Send;

    /// The new values for a batch.
    fn project(
        &self,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> impl Future<Output = Result<Result<Vec<ViewChange>, Failure>, PluginFault>> + Send;
}

/// Events of one stream, in order, from a position on.
pub trait EventFeed: Send {
    /// Goes on with the first event after this position.
    fn seek(&mut self, after: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// At least one and at most `max` events, or none when the feed has been stopped. Messages that are no events come
    /// as errors in their place. Waits for the first.
    fn next(&mut self, max: usize) -> impl Future<Output = Result<Vec<FeedItem>, Unavailable>> + Send;

    /// Completes once the feed has been stopped, for whoever waits for something else meanwhile.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// One message of a feed.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// The message as the stream holds it.
    pub message: Incoming,
    /// The event in it, or why there is none.
    pub event: Result<RecordedEvent, String>,
}

/// Why a write was not made, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has written since. Nothing was stored.
    #[error("somebody else has written since")]
    Conflict,
    /// Perhaps it was made, perhaps not: read again.
    #[error(transparent)]
    Unclear(#[from] Unavailable),
    /// The server will never take it. Nothing was stored.
    #[error("the server refuses it: {0}")]
    Refused(String),
}

/// Where one projection keeps its view and how far it has come.
pub trait ViewStore: Send + Sync + 'static {
    /// How far the view has come, with the revision that guards the next commit.
    fn checkpoint(&self) -> impl Future<Output = Result<Checkpoint, Unavailable>> + Send;

    /// The present values of these keys, in the same order.
    fn read(&self, keys: &[ViewKey]) -> impl Future<Output = Result<Vec<Option<Bytes>>, Unavailable>> + Send;

    /// Stores the values and the checkpoint together, if the checkpoint is still at its revision. Answers the
    /// checkpoint's new revision.
    fn commit(
        &self,
        changes: &[(ViewKey, Option<Bytes>)],
        checkpoint: &Checkpoint,
    ) -> impl Future<Output = Result<u64, CommitError>> + Send;
}

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

    /// Puts a command on the command stream. Sending it again is harmless: its id is the same.
    fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;
}
