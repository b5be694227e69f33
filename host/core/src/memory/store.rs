use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::network::{Fate, FlakyNetwork};
use crate::cloudevents::CAUSATION_ID;
use crate::command::outcome::{Answer, Claim, Entry, OutcomeRecord, Registered, Revision};
use crate::command::ports::{AppendError, Cause, CommandStore, EventToStore, StoredEvent};
use crate::command::snapshot::SnapshotKey;
use crate::id::{CommandId, Sequence};
use crate::message::RecordedEvent;
use crate::store::{CommitError, Unavailable};
use crate::subject::Entity;
use crate::time::Timestamp;

/// The largest outcome that it takes, in bytes of JSON: a server's default `max_payload`.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// One event stream, its snapshots and outcomes in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    stream: Arc<str>,
    network: Arc<FlakyNetwork>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<(String, StoredEvent)>,
    snapshots: HashMap<SnapshotKey, Bytes>,
    register: HashMap<CommandId, Registered>,
    last_revision: u64,
    announced: Vec<(String, Answer)>,
}

impl MemoryStore {
    /// An empty store whose event stream has this name.
    #[must_use]
    pub fn new(stream: &str, network: Arc<FlakyNetwork>) -> Self {
        Self { stream: stream.into(), network, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All events in stream order, with their subjects.
    #[must_use]
    pub fn events(&self) -> Vec<(String, StoredEvent)> {
        self.kept().events.clone()
    }

    /// Drops all but the first events, as a stream that is restored from an older copy does.
    pub fn truncate_events(&self, count: usize) {
        self.kept().events.truncate(count);
    }

    /// All snapshots.
    #[must_use]
    pub fn snapshots(&self) -> HashMap<SnapshotKey, Bytes> {
        self.kept().snapshots.clone()
    }

    /// Puts other snapshots in the place of all.
    pub fn replace_snapshots(&self, snapshots: HashMap<SnapshotKey, Bytes>) {
        self.kept().snapshots = snapshots;
    }

    /// All recorded outcomes.
    #[must_use]
    pub fn outcomes(&self) -> HashMap<CommandId, OutcomeRecord> {
        let kept = self.kept();
        let outcomes = kept.register.iter().filter_map(|(id, registered)| match &registered.entry {
            Entry::Outcome(outcome) => Some((id.clone(), outcome.clone())),
            Entry::Vacant | Entry::Claimed(_) => None,
        });
        outcomes.collect()
    }

    /// Forgets all outcomes, as the audit stream does after its time.
    pub fn forget_outcomes(&self) {
        self.kept().register.clear();
    }

    /// All announcements in order, with the subjects they went to.
    #[must_use]
    pub fn announced(&self) -> Vec<(String, Answer)> {
        self.kept().announced.clone()
    }
}

impl Kept {
    fn registered(&self, id: &CommandId) -> Registered {
        self.register.get(id).cloned().unwrap_or_else(Registered::vacant)
    }

    fn register(&mut self, id: &CommandId, entry: Entry, over: Revision) -> Option<Revision> {
        if self.registered(id).revision != over {
            return None;
        }
        self.last_revision += 1;
        let revision = Revision(self.last_revision);
        self.register.insert(id.clone(), Registered { entry, revision });
        Some(revision)
    }

    fn of(&self, entity: &Entity, after: Sequence) -> Vec<StoredEvent> {
        let prefix = format!("{}.", entity.prefix());
        let own = self
            .events
            .iter()
            .filter(|(subject, e)| subject.starts_with(&prefix) && e.recorded.sequence > after);
        own.map(|(_, event)| event.clone()).collect()
    }

    fn last_of(&self, entity: &Entity) -> Sequence {
        let own =
            |subject: &str| subject.strip_prefix(entity.prefix()).is_some_and(|rest| rest.starts_with('.'));
        let last = self.events.iter().rev().find(|(subject, _)| own(subject));
        last.map_or(Sequence::NONE, |(_, event)| event.recorded.sequence)
    }

    fn append(
        &mut self,
        stream: &Arc<str>,
        entity: &Entity,
        expected: Sequence,
        events: &[EventToStore],
    ) -> Result<Vec<Sequence>, AppendError> {
        if self.last_of(entity) != expected {
            return Err(AppendError::Conflict);
        }
        let mut sequences = Vec::new();
        for new in events {
            let sequence = Sequence(self.events.len() as u64 + 1);
            let event = new.event.clone();
            let command = event.extension(CAUSATION_ID).and_then(|id| CommandId::new(id).ok());
            let recorded =
                RecordedEvent { event, stream: stream.clone(), sequence, recorded_at: Timestamp::now() };
            let cause = command.map(|command| Cause { command, fingerprint: new.fingerprint.clone() });
            self.events.push((
                new.subject.clone(),
                StoredEvent { recorded, cause, history: Some(new.history.clone()) },
            ));
            sequences.push(sequence);
        }
        Ok(sequences)
    }
}

impl CommandStore for MemoryStore {
    async fn load(&self, entity: &Entity) -> Result<Vec<StoredEvent>, Unavailable> {
        self.since(entity, Sequence::NONE).await
    }

    async fn since(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredEvent>, Unavailable> {
        self.network.request("loading an entity", || self.kept().of(entity, after)).await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        self.network.request("reading a snapshot", || self.kept().snapshots.get(key).cloned()).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        let keep = || drop(self.kept().snapshots.insert(key.clone(), snapshot));
        Ok(self.network.request("keeping a snapshot", keep).await?)
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        events: &[EventToStore],
    ) -> Result<Vec<Sequence>, AppendError> {
        let (store, entity, events) = (self.clone(), entity.clone(), events.to_vec());
        let append = move || store.kept().append(&store.stream, &entity, expected, &events);
        let unclear = || AppendError::Unclear("appending: no answer".to_owned());
        if let Some(late) = self.network.take_late_append() {
            later(late, append);
            return Err(unclear());
        }
        match self.network.travel().await {
            Fate::Arrives => {
                let answer = append();
                self.network.travel().await;
                answer
            }
            Fate::LostAfter => {
                drop(append());
                Err(unclear())
            }
            Fate::LostBefore => {
                if let Some(late) = self.network.late() {
                    later(late, append);
                }
                Err(unclear())
            }
        }
    }

    async fn registered(&self, id: &CommandId) -> Result<Registered, Unavailable> {
        self.network.request("reading what is registered", || self.kept().registered(id)).await
    }

    async fn claim(
        &self,
        id: &CommandId,
        claim: Claim,
        over: Revision,
    ) -> Result<Option<Revision>, Unavailable> {
        let write = || self.kept().register(id, Entry::Claimed(claim), over);
        self.network.request("claiming an id", write).await
    }

    async fn record(&self, outcome: &OutcomeRecord, over: Revision) -> Result<bool, Unavailable> {
        let entry = Entry::Outcome(outcome.clone());
        let bytes = serde_json::to_vec(outcome).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_RECORD_BYTES {
            let cause = format!("it has {bytes} bytes; at most {MAX_RECORD_BYTES} are taken");
            return Err(Unavailable { doing: "recording an outcome".to_owned(), cause });
        }
        let write = || self.kept().register(&outcome.command_id, entry, over).is_some();
        self.network.request("recording an outcome", write).await
    }

    async fn announce(&self, reply_to: &str, answer: &Answer) {
        self.kept().announced.push((reply_to.to_owned(), answer.clone()));
    }
}

/// What somebody takes for lost takes effect nevertheless.
fn later<T>(after: Duration, effect: impl FnOnce() -> T + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        effect();
    });
}
