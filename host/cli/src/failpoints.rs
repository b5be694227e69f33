//! A command store that ends the process at a chosen step; see [`pelton_nats::failpoint`]. Builds for tests only.

use std::sync::Arc;

use bytes::Bytes;
use pelton_core::dead_letter::DeadLetter;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::outcome::{Claim, OutcomeRecord, Registered, Revision};
use pelton_core::ports::{AppendError, CommandStore, CommitError, EventToStore, StoredEvent, Unavailable};
use pelton_core::snapshot::SnapshotKey;
use pelton_core::subject::Entity;
use pelton_nats::failpoint::{check, pass};

/// The store, with a failpoint before and after each of its steps.
#[derive(Debug)]
pub(crate) struct Failpoints<S>(Arc<S>);

impl<S> Failpoints<S> {
    /// Around this store. The error says that the environment names no failpoint that there is.
    pub(crate) fn around(store: Arc<S>) -> anyhow::Result<Arc<Self>> {
        check().map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Self(store)))
    }
}

impl<S: CommandStore> CommandStore for Failpoints<S> {
    async fn load(&self, entity: &Entity) -> Result<Vec<StoredEvent>, Unavailable> {
        let loaded = self.0.load(entity).await;
        pass("after-load");
        loaded
    }

    async fn since(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredEvent>, Unavailable> {
        pass("before-catch-up");
        self.0.since(entity, after).await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        self.0.snapshot(key).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        pass("before-snapshot");
        let kept = self.0.keep_snapshot(key, snapshot).await;
        pass("after-snapshot");
        kept
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        events: Vec<EventToStore>,
    ) -> Result<Vec<Sequence>, AppendError> {
        pass("before-append");
        let appended = self.0.append(entity, expected, events).await;
        pass("after-append");
        appended
    }

    async fn registered(&self, id: &CommandId) -> Result<Registered, Unavailable> {
        pass("before-look-up");
        self.0.registered(id).await
    }

    async fn claim(
        &self,
        id: &CommandId,
        claim: Claim,
        over: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        pass("before-claim");
        let claimed = self.0.claim(id, claim, over).await;
        pass("after-claim");
        claimed
    }

    async fn record(&self, outcome: &OutcomeRecord, over: Revision) -> Result<bool, Unavailable> {
        pass("before-record");
        let recorded = self.0.record(outcome, over).await;
        pass("after-record");
        recorded
    }

    async fn announce(&self, reply_to: &str, outcome: &OutcomeRecord) {
        pass("before-announce");
        self.0.announce(reply_to, outcome).await;
        pass("after-announce");
    }

    async fn set_aside(&self, letter: DeadLetter) -> Result<(), Unavailable> {
        pass("before-set-aside");
        let kept = self.0.set_aside(letter).await;
        pass("after-set-aside");
        kept
    }
}
