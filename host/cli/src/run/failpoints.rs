//! A command store and dead letters that end the process at a chosen step; see [`pelton_nats::failpoint`]. Builds for tests only.

use std::sync::Arc;

use bytes::Bytes;
use pelton_core::command::outcome::{Answer, Claim, OutcomeRecord, Registered, Revision};
use pelton_core::command::ports::{AppendError, CommandStore, EventToStore, StoredEvent};
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::dead_letter::{DeadLetter, DeadLetters, Parking};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::{CommitError, Unavailable};
use pelton_core::subject::Entity;
use pelton_nats::failpoint::{check, pass};

/// What it is around, with a failpoint before and after each of its steps.
#[derive(Debug)]
pub(crate) struct Failpoints<S>(Arc<S>);

impl<S> Failpoints<S> {
    /// Around this one. The error says that the environment names no failpoint that there is.
    pub(crate) fn around(inner: Arc<S>) -> anyhow::Result<Arc<Self>> {
        check().map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Self(inner)))
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
        events: &[EventToStore],
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

    async fn announce(&self, reply_to: &str, answer: &Answer) {
        pass("before-announce");
        self.0.announce(reply_to, answer).await;
        pass("after-announce");
    }
}

impl<L: DeadLetters> DeadLetters for Failpoints<L> {
    async fn keep(&self, letter: DeadLetter) -> Result<(), Unavailable> {
        pass("before-set-aside");
        let kept = self.0.keep(letter).await;
        pass("after-set-aside");
        kept
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        self.0.last(consumer, key).await
    }

    async fn is_retry_of_first(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
    ) -> Result<bool, Unavailable> {
        self.0.is_retry_of_first(consumer, key, message).await
    }

    async fn keep_behind(&self, letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        pass("before-set-aside");
        let kept = self.0.keep_behind(letter, last).await;
        pass("after-set-aside");
        kept
    }
}
