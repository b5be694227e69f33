//! The [`CommandStore`] of one event stream.

use bytes::Bytes;
use pelton_core::command::outcome::{Answer, Claim, OutcomeRecord, Registered, Revision};
use pelton_core::command::ports::{AppendError, CommandStore, EventToStore, StoredEvent};
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::store::{CommitError, Unavailable};
use pelton_core::subject::Entity;

use super::load::Loader;
use super::look_up::LookUps;
use super::{append, register, reply, snapshots};
use crate::connection::Nats;
use crate::wire::{ConditionalWrite, GroupCommit, PublishError, Stored};

/// How a stream is written and read.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreSettings {
    /// Whether decisions of a single event and outcomes are gathered into batches too. Worth it where the server forces
    /// every write to disk (`sync_interval: always`); otherwise a plain publish is faster.
    pub gather_single_events: bool,
    /// Whether the streams have more than one replica, so that a read may be answered by one that is behind.
    pub replicated: bool,
}

/// Keeps what the flow of commands keeps, for all handlers of one event stream. Handlers of one stream share one, so
/// that their decisions are gathered together.
#[derive(Debug)]
pub struct StreamStore {
    nats: Nats,
    stream: Name,
    settings: StoreSettings,
    loader: Loader,
    events: GroupCommit,
    entries: GroupCommit,
    look_ups: LookUps,
}

impl StreamStore {
    /// A store over this event stream. It owns tasks that [`StreamStore::close`] ends.
    #[must_use]
    pub fn start(nats: &Nats, stream: &Name, settings: StoreSettings) -> Self {
        Self {
            nats: nats.clone(),
            stream: stream.clone(),
            settings,
            loader: Loader::new(nats, stream),
            events: GroupCommit::start(nats.clone()),
            entries: GroupCommit::start(nats.clone()),
            look_ups: LookUps::start(nats.clone()),
        }
    }

    /// Finishes the writes and look-ups that wait and takes no more.
    pub async fn close(&self) {
        self.events.close().await;
        self.entries.close().await;
        self.look_ups.close().await;
    }

    /// Stores a write, with others that wait where that pays.
    async fn store(&self, write: ConditionalWrite, gatherer: &GroupCommit) -> Result<Stored, PublishError> {
        if write.messages.len() > 1 || self.settings.gather_single_events {
            gatherer.store(write).await
        } else {
            write.store(&self.nats).await
        }
    }
}

impl CommandStore for StreamStore {
    async fn load(&self, entity: &Entity) -> Result<Vec<StoredEvent>, Unavailable> {
        self.loader.load(entity).await
    }

    async fn since(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredEvent>, Unavailable> {
        self.loader.since(entity, after).await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        snapshots::read(&self.nats, key).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        snapshots::keep(&self.nats, key, snapshot).await
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        events: &[EventToStore],
    ) -> Result<Vec<Sequence>, AppendError> {
        let decision = append::decision(&self.stream, entity, expected, events)?;
        append::appended(self.store(decision, &self.events).await)
    }

    async fn registered(&self, id: &CommandId) -> Result<Registered, Unavailable> {
        if self.settings.replicated {
            // Only the leader is asked, and it answers one question at a time.
            register::last(&self.nats, id, true).await
        } else {
            self.look_ups.last(id).await
        }
    }

    async fn claim(
        &self,
        id: &CommandId,
        claim: Claim,
        over: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        register::written(self.store(register::claiming(id, claim, over)?, &self.entries).await)
    }

    async fn record(&self, outcome: &OutcomeRecord, over: Revision) -> Result<bool, Unavailable> {
        let recorded = self.store(register::recording(outcome, over)?, &self.entries).await;
        Ok(register::written(recorded)?.is_some())
    }

    async fn announce(&self, reply_to: &str, answer: &Answer) {
        reply::reply(&self.nats, reply_to, answer).await;
    }
}
