//! A command store and dead letters that end the process at a chosen step; see [`pelton_nats::failpoint`]. Builds for tests only.

use std::sync::Arc;

use bytes::Bytes;
use pelton_core::command::outcome::Answer;
use pelton_core::command::ports::{
    AppendError, CommandStore, NewMessage, StoredEvent, StoredMark, StoredMessage,
};
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::dead_letter::{DeadLetter, DeadLetters, OnFailure, Parking, Place, Retries, RetryRequest};
use pelton_core::id::{CommandId, InstanceId, Name, Sequence};
use pelton_core::message::{Headers, Incoming};
use pelton_core::outcomes::CommandReport;
use pelton_core::saga::instance::{ArmedTimer, Instance};
use pelton_core::saga::lead::{SagaPosition, Start};
use pelton_core::saga::ports::{SagaStore, Sent, TimerWrite};
use pelton_core::store::{CommitError, ReadError, Unavailable};
use pelton_core::subject::Entity;
use pelton_nats::failpoint::{check, pass};

/// A wrapper with a failpoint before and after each operation.
#[derive(Debug)]
pub(crate) struct Failpoints<S>(Arc<S>);

impl<S> Failpoints<S> {
    /// Wraps this one. Fails if the environment names an unknown failpoint.
    pub(crate) fn around(inner: Arc<S>) -> anyhow::Result<Arc<Self>> {
        check().map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Self(inner)))
    }
}

impl<S: CommandStore> CommandStore for Failpoints<S> {
    async fn last(&self, entity: &Entity) -> Result<Option<StoredMessage>, ReadError> {
        self.0.last(entity).await
    }

    async fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let history = self.0.history(entity, after, last).await;
        pass("after-load");
        history
    }

    async fn tail(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredMessage>, ReadError> {
        pass("before-catch-up");
        self.0.tail(entity, after).await
    }

    async fn mark(&self, entity: &Entity, command: &CommandId) -> Result<Option<StoredMark>, ReadError> {
        let mark = self.0.mark(entity, command).await;
        pass("after-mark");
        mark
    }

    async fn marks(&self, entity: &Entity, up_to: Sequence) -> Result<Option<Vec<CommandId>>, ReadError> {
        self.0.marks(entity, up_to).await
    }

    async fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.0.events(entity, first, count).await
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
        messages: &[NewMessage],
    ) -> Result<Vec<Sequence>, AppendError> {
        pass("before-append");
        let appended = self.0.append(entity, expected, messages).await;
        pass("after-append");
        appended
    }

    async fn last_command(&self) -> Result<Sequence, Unavailable> {
        self.0.last_command().await
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        pass("before-report");
        let told = self.0.report(report).await;
        pass("after-report");
        told
    }

    async fn reply(&self, reply_to: &str, answer: &Answer) {
        pass("before-reply");
        self.0.reply(reply_to, answer).await;
        pass("after-reply");
    }
}

impl<L: DeadLetters> DeadLetters for Failpoints<L> {
    async fn keep(&self, dead_letter: DeadLetter) -> Result<Sequence, Unavailable> {
        pass("before-set-aside");
        let kept = self.0.keep(dead_letter).await;
        pass("after-set-aside");
        kept
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        self.0.last(consumer, key).await
    }

    async fn is_retry(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
        on_failure: OnFailure,
    ) -> Result<bool, Unavailable> {
        self.0.is_retry(consumer, key, message, on_failure).await
    }

    async fn keep_behind(&self, dead_letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        pass("before-set-aside");
        let kept = self.0.keep_behind(dead_letter, last).await;
        pass("after-set-aside");
        kept
    }
}

impl<L: Retries> Retries for Failpoints<L> {
    async fn request(&self, consumer: &Name) -> Result<Option<RetryRequest>, Unavailable> {
        self.0.request(consumer).await
    }

    async fn places(&self, consumer: &Name, key: Option<&str>) -> Result<Vec<Place>, Unavailable> {
        self.0.places(consumer, key).await
    }

    async fn dead_letter(&self, at: Sequence) -> Result<Option<DeadLetter>, Unavailable> {
        self.0.dead_letter(at).await
    }

    async fn settle(&self, at: Sequence) -> Result<(), Unavailable> {
        self.0.settle(at).await
    }

    async fn note_failure(&self, at: Sequence, cause: &str) -> Result<(), Unavailable> {
        self.0.note_failure(at, cause).await
    }

    async fn close(&self, request: &RetryRequest) -> Result<(), Unavailable> {
        self.0.close(request).await
    }
}

impl<S: SagaStore> SagaStore for Failpoints<S> {
    async fn load(&self, instance: &InstanceId) -> Result<(Option<Instance>, u64), ReadError> {
        self.0.load(instance).await
    }

    async fn save(
        &self,
        id: &InstanceId,
        instance: &Instance,
        timers: &[TimerWrite],
        revision: u64,
    ) -> Result<u64, CommitError> {
        pass("before-save");
        let saved = self.0.save(id, instance, timers, revision).await;
        pass("after-save");
        saved
    }

    async fn timer_data(
        &self,
        instance: &InstanceId,
        id: &str,
        armed: &ArmedTimer,
    ) -> Result<Option<Bytes>, Unavailable> {
        self.0.timer_data(instance, id, armed).await
    }

    async fn send(
        &self,
        headers: Headers,
        r#type: &str,
        id: &CommandId,
        data: Bytes,
    ) -> Result<Sent, CommitError> {
        pass("before-send");
        let sent = self.0.send(headers, r#type, id, data).await;
        pass("after-send");
        sent
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        SagaStore::report(&*self.0, report).await
    }

    async fn position(&self) -> Result<Option<(SagaPosition, u64)>, Unavailable> {
        self.0.position().await
    }

    async fn keep_position(&self, position: &SagaPosition, revision: u64) -> Result<u64, CommitError> {
        self.0.keep_position(position, revision).await
    }

    async fn begin(&self, start: &Start) -> Result<Sequence, Unavailable> {
        self.0.begin(start).await
    }

    async fn let_go(&self, up_to: Sequence) -> Result<(), Unavailable> {
        pass("before-let-go");
        self.0.let_go(up_to).await
    }
}
