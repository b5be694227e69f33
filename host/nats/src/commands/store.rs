//! The [`CommandStore`] of one event stream.

use bytes::Bytes;
use pelton_core::command::outcome::Answer;
use pelton_core::command::ports::{
    AppendError, CommandStore, NewMessage, StoredEvent, StoredMark, StoredMessage,
};
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::outcomes::CommandReport;
use pelton_core::store::{CommitError, ReadError, Unavailable};
use pelton_core::subject::Entity;

use super::load::Loader;
use super::{append, log, reply, snapshots};
use crate::connection::Nats;
use crate::sagas::outcomes;
use crate::wire::{Gathered, GroupCommit};

/// How a stream is written and read.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreSettings {
    /// Which decisions of a single message take part in group commit.
    pub gathered: Gathered,
    /// Whether the streams have more than one replica, so that a read may be answered by one that is behind.
    pub replicated: bool,
}

/// Keeps the entities of one event stream, for all its handlers. They share one, so that their decisions are committed
/// as groups.
#[derive(Debug)]
pub struct StreamStore {
    nats: Nats,
    stream: Name,
    loader: Loader,
    messages: GroupCommit,
}

impl StreamStore {
    /// A store over this event stream. It owns a task that [`StreamStore::close`] ends.
    #[must_use]
    pub fn start(nats: &Nats, stream: &Name, settings: StoreSettings) -> Self {
        Self {
            nats: nats.clone(),
            stream: stream.clone(),
            loader: Loader::new(nats, stream, settings.replicated),
            messages: GroupCommit::start(nats.clone(), settings.gathered),
        }
    }

    /// Finishes the writes that wait and takes no more.
    pub async fn close(&self) {
        self.messages.close().await;
    }
}

impl CommandStore for StreamStore {
    async fn last(&self, entity: &Entity) -> Result<Option<StoredMessage>, ReadError> {
        self.loader.last(entity).await
    }

    async fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.loader.history(entity, after, last).await
    }

    async fn tail(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredMessage>, ReadError> {
        self.loader.tail(entity, after).await
    }

    async fn mark(&self, entity: &Entity, command: &CommandId) -> Result<Option<StoredMark>, ReadError> {
        self.loader.mark(entity, command).await
    }

    async fn marks(&self, entity: &Entity, up_to: Sequence) -> Result<Option<Vec<CommandId>>, ReadError> {
        self.loader.marks(entity, up_to).await
    }

    async fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.loader.events(entity, first, count).await
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        messages: &[NewMessage],
    ) -> Result<Vec<Sequence>, AppendError> {
        let decision = append::decision(&self.stream, entity, expected, messages)?;
        append::appended(self.messages.store(decision).await)
    }

    async fn last_command(&self) -> Result<Sequence, Unavailable> {
        log::last(&self.nats).await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        snapshots::read(&self.nats, key).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        snapshots::keep(&self.nats, key, snapshot).await
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        outcomes::report(&self.nats, report).await
    }

    async fn reply(&self, reply_to: &str, answer: &Answer) {
        reply::reply(&self.nats, reply_to, answer).await;
    }
}
