//! The [`CommandStore`] of one event stream.

use bytes::Bytes;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::outcome::{Answer, Claim, OutcomeRecord, Registered, Revision};
use pelton_core::ports::{AppendError, CommandStore, CommitError, EventToStore, StoredEvent, Unavailable};
use pelton_core::snapshot::SnapshotKey;
use pelton_core::subject::Entity;

use crate::append::Decision;
use crate::connection::Nats;
use crate::gather::Gatherer;
use crate::load::Loader;
use crate::look_up::LookUps;
use crate::{announce, register, snapshots};

/// How a stream is written and read.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreSettings {
    /// Whether decisions of a single event are gathered into batches too. Worth it where the server forces every
    /// write to disk (`sync_interval: always`); otherwise a plain publish is faster.
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
    gatherer: Gatherer,
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
            gatherer: Gatherer::start(nats.clone()),
            look_ups: LookUps::start(nats.clone()),
        }
    }

    /// Finishes the appends and look-ups that wait and takes no more.
    pub async fn close(&self) {
        self.gatherer.close().await;
        self.look_ups.close().await;
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
        let single = events.len() == 1;
        let decision = Decision::new(&self.stream, entity, expected, events)?;
        if single && !self.settings.gather_single_events {
            decision.store(&self.nats).await
        } else {
            self.gatherer.store(decision).await
        }
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
        register::claim(&self.nats, id, claim, over).await
    }

    async fn record(&self, outcome: &OutcomeRecord, over: Revision) -> Result<bool, Unavailable> {
        register::record(&self.nats, outcome, over).await
    }

    async fn announce(&self, reply_to: &str, answer: &Answer) {
        announce::announce(&self.nats, reply_to, answer).await;
    }
}
