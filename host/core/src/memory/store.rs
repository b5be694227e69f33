use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::consumer::MemoryQueue;
use super::network::{Fate, FlakyNetwork};
use crate::command::outcome::Answer;
use crate::command::ports::{
    AppendError, CommandStore, EntityMessage, NewMessage, Stored, StoredEvent, StoredMark, StoredMessage,
};
use crate::command::snapshot::SnapshotKey;
use crate::id::{CommandId, Sequence};
use crate::message::RecordedEvent;
use crate::outcomes::CommandReport;
use crate::store::{CommitError, ReadError, Unavailable};
use crate::subject::Entity;
use crate::time::Timestamp;

/// One event stream with its marks, and the snapshots of its entities, in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    stream: Arc<str>,
    network: Arc<FlakyNetwork>,
    commands: MemoryQueue,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    messages: BTreeMap<u64, (Entity, StoredMessage)>,
    /// The sequences of each entity's messages.
    by_entity: HashMap<Entity, Vec<u64>>,
    snapshots: HashMap<SnapshotKey, Bytes>,
    replies: Vec<(String, Answer)>,
    reports: Vec<CommandReport>,
}

impl MemoryStore {
    /// An empty store whose event stream has this name. The commands of its entities come from this queue.
    #[must_use]
    pub fn new(stream: &str, network: Arc<FlakyNetwork>, commands: MemoryQueue) -> Self {
        Self { stream: stream.into(), network, commands, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All messages in stream order, with their entities.
    #[must_use]
    pub fn messages(&self) -> Vec<(Entity, StoredMessage)> {
        self.kept().messages.values().cloned().collect()
    }

    /// What sagas were told of their commands, each once.
    #[must_use]
    pub fn reports(&self) -> Vec<CommandReport> {
        self.kept().reports.clone()
    }

    /// All events in stream order, with their subjects.
    #[must_use]
    pub fn events(&self) -> Vec<(String, StoredEvent)> {
        let events = self.messages().into_iter().filter_map(|(entity, message)| {
            let event = message.into_event()?;
            Some((entity.event_subject(&event.body.event.r#type, event.body.event.version), event))
        });
        events.collect()
    }

    /// All marks in stream order.
    #[must_use]
    pub fn marks(&self) -> Vec<StoredMark> {
        let mark = |(_, Stored { sequence, links, body }): (Entity, StoredMessage)| match body {
            EntityMessage::Mark(mark) => Some(Stored { sequence, links, body: *mark }),
            EntityMessage::Event(_) => None,
        };
        self.messages().into_iter().filter_map(mark).collect()
    }

    /// Drops all but the first messages, as a stream that is restored from an older copy does.
    pub fn truncate(&self, count: usize) {
        let mut kept = self.kept();
        if let Some((&from, _)) = kept.messages.iter().nth(count) {
            kept.messages.split_off(&from);
            kept.last = from - 1;
        }
        kept.index();
    }

    /// Drops all marks that may be dropped, as the server does after their time.
    pub fn expire_marks(&self) {
        let mut kept = self.kept();
        kept.messages.retain(|_, (_, message)| match &message.body {
            EntityMessage::Event(_) => true,
            EntityMessage::Mark(mark) => {
                !mark.outcome.is_final() && message.links.as_ref().is_some_and(|links| links.held)
            }
        });
        kept.index();
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

    /// All replies in order, with the subjects they went to.
    #[must_use]
    pub fn replies(&self) -> Vec<(String, Answer)> {
        self.kept().replies.clone()
    }
}

impl Kept {
    fn index(&mut self) {
        self.by_entity.clear();
        for (sequence, (entity, _)) in &self.messages {
            self.by_entity.entry(entity.clone()).or_default().push(*sequence);
        }
    }

    fn of(&self, entity: &Entity, after: Sequence, up_to: Sequence) -> Vec<StoredMessage> {
        let Some(sequences) = self.by_entity.get(entity) else { return Vec::new() };
        let (from, end) =
            (sequences.partition_point(|at| *at <= after.0), sequences.partition_point(|at| *at <= up_to.0));
        sequences[from..end.max(from)].iter().map(|at| self.messages[at].1.clone()).collect()
    }

    fn last_of(&self, entity: &Entity) -> Option<u64> {
        self.by_entity.get(entity)?.last().copied()
    }

    fn events(&self, entity: &Entity, after: Sequence, up_to: Sequence) -> Vec<StoredEvent> {
        self.of(entity, after, up_to).into_iter().filter_map(StoredMessage::into_event).collect()
    }

    fn mark(&self, entity: &Entity, command: &CommandId) -> Option<StoredMark> {
        let sequences = self.by_entity.get(entity)?;
        sequences.iter().rev().find_map(|at| match &self.messages[at].1 {
            Stored { sequence, links, body: EntityMessage::Mark(mark) } if mark.command_id == *command => {
                Some(Stored { sequence: *sequence, links: links.clone(), body: (**mark).clone() })
            }
            _ => None,
        })
    }

    fn append(
        &mut self,
        stream: &Arc<str>,
        entity: &Entity,
        expected: Sequence,
        messages: &[NewMessage],
    ) -> Result<Vec<Sequence>, AppendError> {
        if self.last_of(entity).unwrap_or_default() != expected.0 {
            return Err(AppendError::Conflict);
        }
        let mut sequences = Vec::new();
        for NewMessage { links, body, .. } in messages {
            self.last += 1;
            let sequence = Sequence(self.last);
            let body = match body {
                EntityMessage::Event(event) => EntityMessage::Event(RecordedEvent {
                    event: event.clone(),
                    stream: stream.clone(),
                    sequence,
                    part: 0,
                    recorded_at: Timestamp::now(),
                }),
                EntityMessage::Mark(mark) => EntityMessage::Mark(mark.clone()),
            };
            let message = Stored { sequence, links: Some(links.clone()), body };
            self.messages.insert(sequence.0, (entity.clone(), message));
            self.by_entity.entry(entity.clone()).or_default().push(sequence.0);
            sequences.push(sequence);
        }
        Ok(sequences)
    }
}

/// Few, so that more than that is tried too.
const MAX_LISTED_MARKS: usize = 3;
const LATEST: Sequence = Sequence(u64::MAX);

impl CommandStore for MemoryStore {
    async fn last(&self, entity: &Entity) -> Result<Option<StoredMessage>, ReadError> {
        let behind = self.network.behind();
        let last = || {
            let kept = self.kept();
            let at = kept.by_entity.get(entity)?.iter().rev().nth(behind)?;
            Some(kept.messages[at].1.clone())
        };
        Ok(self.network.request("reading an entity's last message", last).await?)
    }

    async fn history(
        &self,
        entity: &Entity,
        after: Sequence,
        last: StoredMessage,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let events = || self.kept().events(entity, after, last.sequence);
        Ok(self.network.request("reading an entity's events", events).await?)
    }

    async fn tail(&self, entity: &Entity, after: Sequence) -> Result<Vec<StoredMessage>, ReadError> {
        let tail = || self.kept().of(entity, after, LATEST);
        Ok(self.network.request("reading an entity's new messages", tail).await?)
    }

    async fn mark(&self, entity: &Entity, command: &CommandId) -> Result<Option<StoredMark>, ReadError> {
        Ok(self.network.request("looking for a mark", || self.kept().mark(entity, command)).await?)
    }

    async fn marks(&self, entity: &Entity, _: Sequence) -> Result<Option<Vec<CommandId>>, ReadError> {
        let marks = || {
            let mark = |message: StoredMessage| match message.body {
                EntityMessage::Mark(mark) => Some(mark.command_id),
                EntityMessage::Event(_) => None,
            };
            let all = self.kept().of(entity, Sequence::NONE, LATEST);
            let marks: Vec<_> = all.into_iter().filter_map(mark).collect();
            (marks.len() <= MAX_LISTED_MARKS).then_some(marks)
        };
        Ok(self.network.request("listing marks", marks).await?)
    }

    async fn events(
        &self,
        entity: &Entity,
        first: Sequence,
        count: u32,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let up_to = Sequence(first.0 + u64::from(count) - 1);
        let events = || self.kept().events(entity, Sequence(first.0 - 1), up_to);
        Ok(self.network.request("reading a command's events", events).await?)
    }

    async fn append(
        &self,
        entity: &Entity,
        expected: Sequence,
        messages: &[NewMessage],
    ) -> Result<Vec<Sequence>, AppendError> {
        let (store, entity, messages) = (self.clone(), entity.clone(), messages.to_vec());
        let append = move || store.kept().append(&store.stream, &entity, expected, &messages);
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

    async fn last_command(&self) -> Result<Sequence, Unavailable> {
        self.network.request("reading the end of the commands", || self.commands.last()).await
    }

    async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<Bytes>, Unavailable> {
        self.network.request("reading a snapshot", || self.kept().snapshots.get(key).cloned()).await
    }

    async fn keep_snapshot(&self, key: &SnapshotKey, snapshot: Bytes) -> Result<(), CommitError> {
        let keep = || drop(self.kept().snapshots.insert(key.clone(), snapshot));
        Ok(self.network.request("keeping a snapshot", keep).await?)
    }

    async fn report(&self, report: &CommandReport) -> Result<(), Unavailable> {
        let keep = || {
            let mut kept = self.kept();
            if !kept.reports.contains(report) {
                kept.reports.push(report.clone());
            }
        };
        self.network.request("telling a saga", keep).await
    }

    async fn reply(&self, reply_to: &str, answer: &Answer) {
        self.kept().replies.push((reply_to.to_owned(), answer.clone()));
    }
}

/// What somebody takes for lost takes effect nevertheless.
fn later<T>(after: Duration, effect: impl FnOnce() -> T + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        effect();
    });
}
