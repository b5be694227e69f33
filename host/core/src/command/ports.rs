//! What command handlers stand on: a store of entities, and a plugin in the role `command-handler`.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::backlinks::Backlinks;
use super::outcome::{Answer, Mark};
use super::snapshot::SnapshotKey;
use crate::id::{CommandId, Sequence};
use crate::message::{Command, Event, EventType, Fingerprint, NewEvent, RecordedEvent, Rejection};
use crate::outcomes::CommandReport;
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, ReadError, Unavailable};
use crate::subject::Entity;

/// Which command a message of an entity followed from, and who decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The command's id.
    pub command: CommandId,
    /// Tells it from another command that reuses the id.
    pub fingerprint: Fingerprint,
    /// Where the command lies in its log.
    pub logged_at: Sequence,
    /// How many events followed from it, one behind the other; 0 in a mark.
    pub events: u32,
    /// The digest of the component that decided it.
    pub decided_by: String,
}

/// A message of an entity as the stream holds it: an event, or the mark of a command that ended without one.
#[derive(Debug, Clone)]
pub struct Stored<B> {
    /// Its position in the stream.
    pub sequence: Sequence,
    /// What Pelton wrote beside it; messages that others wrote have nothing.
    pub links: Option<Links>,
    /// The event or the mark.
    pub body: B,
}

/// What Pelton writes beside every message of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// The entity's earlier events.
    pub backlinks: Backlinks,
    /// What it followed from.
    pub cause: Cause,
    /// Whether the entity's later commands wait behind its dead letters from here on.
    pub held: bool,
}

/// An event of an entity.
pub type StoredEvent = Stored<RecordedEvent>;
/// A mark of an entity.
pub type StoredMark = Stored<Mark>;
/// Any message of an entity.
pub type StoredMessage = Stored<EntityMessage<RecordedEvent>>;

/// What a message of an entity is.
#[derive(Debug, Clone)]
pub enum EntityMessage<E> {
    /// Something happened.
    Event(E),
    /// A command ended without events.
    Mark(Box<Mark>),
}

impl StoredMessage {
    /// The event, if it is one.
    pub fn into_event(self) -> Option<StoredEvent> {
        let Self { sequence, links, body } = self;
        match body {
            EntityMessage::Event(body) => Some(Stored { sequence, links, body }),
            EntityMessage::Mark(_) => None,
        }
    }
}

impl From<StoredEvent> for StoredMessage {
    fn from(Stored { sequence, links, body }: StoredEvent) -> Self {
        Self { sequence, links, body: EntityMessage::Event(body) }
    }
}

/// A message on its way to an entity.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// What is written beside it.
    pub links: Links,
    /// The event or the mark.
    pub body: EntityMessage<Event>,
    /// After this long the server may drop it; events are kept for good.
    pub keep: Option<Duration>,
}

/// Why messages were not appended, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The entity's last message is another than expected. Nothing was stored.
    #[error("the entity's last message is another than expected")]
    Conflict,
    /// Perhaps they were stored, perhaps not: read the entity again.
    #[error("it is unclear whether the messages were stored: {0}")]
    Unclear(String),
    /// The server will never take them. Nothing was stored.
    #[error("the server refuses the messages: {0}")]
    Refused(String),
}

/// Where entities are kept, with their snapshots, and the end of the log that their commands come from.
///
/// A read that says "leader" sees every write that was acknowledged before it; the others may see an older state.
pub trait CommandStore: Send + Sync + 'static {
    /// The entity's last message.
    fn last(&self, entity: &Entity) -> impl Future<Output = Result<Option<StoredMessage>, ReadError>> + Send;

    /// The entity's events after this sequence and up to this message of its own, in order, without a gap.
    fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, ReadError>> + Send;

    /// The entity's messages after this sequence, in order, up to its last one. Leader.
    fn tail(
        &self,
        entity: &Entity,
        after: Sequence,
    ) -> impl Future<Output = Result<Vec<StoredMessage>, ReadError>> + Send;

    /// The last mark of this command at this entity. Leader.
    fn mark(
        &self,
        entity: &Entity,
        command: &CommandId,
    ) -> impl Future<Output = Result<Option<StoredMark>, ReadError>> + Send;

    /// The commands that have a mark at this entity, with every mark up to this sequence of the stream. None: there are too
    /// many to list, or the answer is older than that.
    fn marks(
        &self,
        entity: &Entity,
        up_to: Sequence,
    ) -> impl Future<Output = Result<Option<Vec<CommandId>>, ReadError>> + Send;

    /// The events at these sequences, one behind the other from the first, which are known to be there.
    fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, ReadError>> + Send;

    /// Stores all of the messages one behind the other, or none, if the entity's last message is at `expected`. Answers
    /// their sequences.
    fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        messages: &[NewMessage],
    ) -> impl Future<Output = Result<Vec<Sequence>, AppendError>> + Send;

    /// The position of the last command in the log. Leader.
    fn last_command(&self) -> impl Future<Output = Result<Sequence, Unavailable>> + Send;

    /// The snapshot kept under this key, if there is one. It may be an older one than the last that was kept.
    fn snapshot(&self, key: &SnapshotKey) -> impl Future<Output = Result<Option<Bytes>, Unavailable>> + Send;

    /// Keeps a snapshot in place of the one before.
    fn keep_snapshot(
        &self,
        key: &SnapshotKey,
        snapshot: Bytes,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Stores how a saga's command ended as an input of the saga. Storing it again changes nothing.
    fn report(&self, report: &CommandReport) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Tells a client that waits. Best effort: a client that misses it reads the outcome.
    fn reply(&self, reply_to: &str, answer: &Answer) -> impl Future<Output = ()> + Send;
}

/// What a command handler says of itself.
#[derive(Debug, Clone)]
pub struct HandlerDescriptor {
    /// The plugin's own name and version. The name is part of the key of its snapshots.
    pub identity: Identity,
    /// The command types that it takes.
    pub commands: Vec<String>,
    /// The event types that it emits.
    pub emits: Vec<EventType>,
    /// The event types that it folds: those that it emits, and those that an entity may have from before.
    pub folds: Vec<EventType>,
    /// The codes that it rejects with, beside [`Rejection::INVALID_COMMAND`].
    pub rejections: Vec<String>,
    /// The version of the form of its snapshots.
    pub state_version: u32,
    /// Whether events may be folded before their sequences are known.
    pub decides_ahead: bool,
}

impl HandlerDescriptor {
    /// Whether it takes commands of this type. The configuration may be ahead of a version.
    #[must_use]
    pub fn takes(&self, command: &str) -> bool {
        self.commands.iter().any(|taken| taken == command)
    }
}

/// A plugin in the role `command-handler`.
pub trait HandlerPlugin: Plugin {
    /// The state of one entity in its sandbox.
    type Instance: EntityInstance;

    /// What it says of itself.
    fn descriptor(&self) -> &HandlerDescriptor;

    /// The same plugin for another shard: the two share no sandbox.
    #[must_use]
    fn for_shard(&self) -> Self;

    /// An entity without events.
    fn create(
        &self,
        entity_id: &str,
        isolation: Isolation,
    ) -> impl Future<Output = Result<Self::Instance, PluginFault>> + Send;

    /// An entity from a snapshot; the inner error is the plugin's own word for why it cannot.
    fn restore(
        &self,
        entity_id: &str,
        snapshot: &[u8],
        isolation: Isolation,
    ) -> impl Future<Output = Result<Result<Self::Instance, String>, PluginFault>> + Send;
}

/// Who else is in an entity's sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Other entities of the shard: a sandbox for each would cost much more memory than its state. Where it breaks, all of
    /// them are loaded again.
    Shared,
    /// Nobody.
    Alone,
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

    /// Whether its sandbox has not broken, at a call for this entity or for another.
    fn is_alive(&self) -> bool;

    /// Whether the sandbox is worn out. It goes on working; the entity moves to another sandbox before its next command.
    fn is_retired(&self) -> bool;

    /// How much memory it holds, in bytes, as far as is known. Of a shared sandbox it is the entity's share.
    fn memory_bytes(&self) -> usize;
}
