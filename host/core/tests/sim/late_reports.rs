//! A planted bug: a handler's host that acknowledges a saga's command first and then tells the saga how it ended. The flow is
//! the real one; the bug lies in its ports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pelton_core::command::outcome::Answer;
use pelton_core::command::ports::{
    AppendError, CommandStore, NewMessage, StoredEvent, StoredMark, StoredMessage,
};
use pelton_core::command::reader;
use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::id::{CommandId, Sequence};
use pelton_core::memory::{MemoryConsumer, MemoryDelivery, MemoryStore};
use pelton_core::message::Incoming;
use pelton_core::outcomes::CommandReport;
use pelton_core::store::{CommitError, ReadError, Unavailable};
use pelton_core::subject::Entity;
use tokio::task::JoinHandle;

use crate::bank::{Bank, LIMITS, no_versions};

/// A host of one shard that has the bug.
pub(crate) fn host(bank: &Bank) -> JoinHandle<()> {
    let store = LateStore { inner: bank.store.clone(), untold: Arc::default() };
    let consumer = LateConsumer { inner: bank.queue.consumer(), store: store.clone() };
    let (intake, shards) = (bank.intake.clone(), vec![bank.flow_on(store, bank.dead_letters.clone())]);
    tokio::spawn(async move { reader::run(consumer, intake, shards, no_versions(), LIMITS).await })
}

/// Calls a report stored that is only in the host's memory.
#[derive(Clone)]
struct LateStore {
    inner: MemoryStore,
    untold: Arc<Mutex<HashMap<CommandId, CommandReport>>>,
}

impl LateStore {
    async fn tell(&self, command: &CommandId) {
        let untold = self.untold.lock().unwrap().remove(command);
        if let Some(report) = untold {
            while self.inner.report(&report).await.is_err() {}
        }
    }
}

struct LateConsumer {
    inner: MemoryConsumer,
    store: LateStore,
}

impl Consumer for LateConsumer {
    type Delivery = LateDelivery;

    async fn next(&mut self) -> Option<LateDelivery> {
        Some(LateDelivery { inner: self.inner.next().await?, store: self.store.clone() })
    }
}

struct LateDelivery {
    inner: MemoryDelivery,
    store: LateStore,
}

impl Delivery for LateDelivery {
    fn message(&self) -> &Incoming {
        self.inner.message()
    }

    async fn progress(&self) {
        self.inner.progress().await;
    }

    async fn settle(&self, settlement: Settlement) {
        let is_last = !matches!(settlement, Settlement::RetryAfter(_));
        self.inner.settle(settlement).await;
        let id = self.message().headers.get("ce-id").and_then(|id| CommandId::new(id).ok());
        if let Some(id) = id.filter(|_| is_last) {
            self.store.tell(&id).await;
        }
    }
}

impl CommandStore for LateStore {
    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        self.untold.lock().unwrap().insert(report.command_id.clone(), report.clone());
        Ok(())
    }

    async fn last(&self, entity: &Entity) -> Result<Option<StoredMessage>, ReadError> {
        self.inner.last(entity).await
    }

    async fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.inner.history(entity, after, last).await
    }

    async fn tail(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredMessage>, ReadError> {
        self.inner.tail(entity, after).await
    }

    async fn mark(&self, entity: &Entity, command: &CommandId) -> Result<Option<StoredMark>, ReadError> {
        self.inner.mark(entity, command).await
    }

    async fn marks(&self, entity: &Entity, up_to: Sequence) -> Result<Option<Vec<CommandId>>, ReadError> {
        CommandStore::marks(&self.inner, entity, up_to).await
    }

    async fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        CommandStore::events(&self.inner, entity, first, count).await
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        messages: &[NewMessage],
    ) -> Result<Vec<Sequence>, AppendError> {
        self.inner.append(entity, expected, messages).await
    }

    async fn last_command(&self) -> Result<Sequence, Unavailable> {
        self.inner.last_command().await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        self.inner.snapshot(key).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        self.inner.keep_snapshot(key, snapshot).await
    }

    async fn reply(&self, reply_to: &str, answer: &Answer) {
        self.inner.reply(reply_to, answer).await;
    }
}
