//! The flow of a projection: read a batch, fold it into the values it touches, store values and checkpoint together.
//!
//! The checkpoint is the only memory of how far the view has come, and it guards every write. So no message is
//! acknowledged: who starts, or loses a race, reads on after the checkpoint.

mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::dead_letter::{DeadLetter, DeadLetterKind, OnFailure, Retries};
use crate::id::{Name, Sequence};
use crate::message::{Event, RecordedEvent};
use crate::ports::{
    CommitError, EventFeed, FaultKind, FeedItem, PluginFault, ProjectionPlugin, Unavailable, ViewStore,
};
use crate::settle::RetryPolicy;
use crate::view::{Checkpoint, MAX_PARKED_BYTES, ViewChange, ViewKey};

/// The most keys that one event may touch.
pub const MAX_KEYS_PER_EVENT: usize = 16;
/// The most values that one commit stores; with the checkpoint they fit the server's atomic batch of 1,000 messages.
pub const MAX_ROWS: usize = 900;
/// The most bytes of one value.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;
/// How long a host that lost the race for the checkpoint watches before it takes over.
const STANDBY: Duration = Duration::from_secs(2);
/// How often the flow looks whether an operator asks for something.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);

/// A projection at work.
#[derive(Debug)]
pub struct ProjectionFlow<P, V, L> {
    /// Its name in the configuration, which is the view's.
    pub name: Name,
    /// What folds.
    pub plugin: P,
    /// Where the view is.
    pub store: Arc<V>,
    /// Where events go that cannot be applied.
    pub letters: Arc<L>,
    /// How failures are retried before an event is set aside.
    pub retry: RetryPolicy,
    /// Whether the keys of an event that was set aside wait, or go on without it.
    pub on_failure: OnFailure,
    /// The most events of one batch.
    pub max_batch: usize,
}

/// Why a batch was not applied.
enum Halt {
    /// The view is not, or may not be, where this flow thinks: read the checkpoint again.
    Lost(CommitError),
    /// The store is away.
    Away(Unavailable),
    /// The batch cannot be applied as a whole.
    Batch(PluginFault),
    /// An event must be set aside, and no more keys can wait: an operator has to do something first.
    Full { at: Sequence, parked_keys: usize },
}

impl From<Unavailable> for Halt {
    fn from(away: Unavailable) -> Self {
        Self::Away(away)
    }
}

impl From<PluginFault> for Halt {
    fn from(fault: PluginFault) -> Self {
        Self::Batch(fault)
    }
}

/// New values, by key.
type Changes = Vec<(ViewKey, Option<bytes::Bytes>)>;

/// An event on its way into the view, with the message that holds it and the keys that it touches.
struct Pending {
    item: FeedItem,
    event: RecordedEvent,
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Keeps the view up to date until the feed is stopped.
    pub async fn run<F: EventFeed>(&self, feed: &mut F) {
        let mut failures = 0;
        loop {
            let Err(halt) = self.follow(feed, &mut failures).await else { return };
            let stopped = feed.stopped();
            tokio::select! {
                () = stopped => return,
                () = self.pause(halt, &mut failures) => {}
            }
        }
    }

    /// Says why the view does not move, and waits for as long as it makes sense.
    async fn pause(&self, halt: Halt, failures: &mut u32) {
        let is_full = matches!(halt, Halt::Full { .. });
        let why = match halt {
            Halt::Lost(CommitError::Conflict) => return self.stand_by().await,
            Halt::Lost(error) => {
                tracing::info!(view = %self.name, "reading the checkpoint again: {error}");
                return;
            }
            Halt::Away(away) => away.to_string(),
            // `apply` finds the event at fault itself, so this is a fault that no event explains.
            Halt::Batch(fault) => fault.to_string(),
            Halt::Full { at, parked_keys } => self.what_to_do_when_full(at, parked_keys),
        };
        *failures += 1;
        let delay = self.retry.delay(*failures);
        tracing::warn!(view = %self.name, ?delay, "will be tried again: {why}");
        match is_full {
            // Who asks for something makes room.
            true => drop(tokio::time::timeout(delay, self.asked()).await),
            false => tokio::time::sleep(delay).await,
        }
    }

    fn what_to_do_when_full(&self, at: Sequence, parked_keys: usize) -> String {
        let name = &self.name;
        format!(
            "event {at} has to be set aside, but no more than {MAX_PARKED_BYTES} bytes of keys can be parked, and \
             {parked_keys} keys are: see `pelton dlq list --consumer {name}`, remove the cause, then \
             `pelton dlq retry --consumer {name}`, or give them up with \
             `pelton dlq drop --consumer {name} --reason …`; the view goes on by itself then"
        )
    }

    async fn follow<F: EventFeed>(&self, feed: &mut F, failures: &mut u32) -> Result<(), Halt> {
        let mut checkpoint = self.store.checkpoint().await?;
        feed.seek(checkpoint.position).await?;
        let mut requests = tokio::time::interval(REQUESTS_EVERY);
        requests.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let items = tokio::select! {
                biased;
                _ = requests.tick() => {
                    self.retry_if_asked(&mut checkpoint).await?;
                    continue;
                }
                items = feed.next(self.max_batch) => items?,
            };
            if items.is_empty() {
                return Ok(());
            }
            self.take_in(items, &mut checkpoint).await?;
            *failures = 0;
        }
    }

    /// Waits until whoever won the race for the checkpoint has not moved it for a while.
    async fn stand_by(&self) {
        let mut seen = None;
        loop {
            tokio::time::sleep(STANDBY).await;
            match self.store.checkpoint().await {
                Ok(checkpoint) if seen == Some(checkpoint.revision) => return,
                Ok(checkpoint) => seen = Some(checkpoint.revision),
                Err(_) => return, // `follow` says it
            }
        }
    }

    async fn take_in(&self, items: Vec<FeedItem>, checkpoint: &mut Checkpoint) -> Result<(), Halt> {
        let Some(last) = items.last().map(|item| item.message.sequence) else { return Ok(()) };
        let mut pending = Vec::with_capacity(items.len());
        for item in items {
            match &item.event {
                Ok(event) if self.reads(&event.event) => pending.push(Pending { event: event.clone(), item }),
                Ok(_) => {}
                Err(why) => {
                    let why = format!("it is no event: {why}");
                    self.set_aside(&item, None, DeadLetterKind::Failed, &why).await?;
                }
            }
        }
        self.apply(&pending, checkpoint).await?;
        if checkpoint.position < last {
            self.commit(&[], last, checkpoint).await?;
        }
        Ok(())
    }

    fn reads(&self, event: &Event) -> bool {
        let types = &self.plugin.descriptor().events;
        types.is_empty() || types.iter().any(|t| t.r#type == event.r#type && t.version == event.version)
    }

    /// Applies the events; a batch that fails is halved until the one event that fails is alone.
    async fn apply(&self, pending: &[Pending], checkpoint: &mut Checkpoint) -> Result<(), Halt> {
        let mut todo = vec![pending];
        while let Some(batch) = todo.pop() {
            match batch {
                [] => {}
                [one] => self.apply_one(one, checkpoint).await?,
                _ => match self.fold(batch, checkpoint).await {
                    Err(Halt::Batch(_)) => {
                        let (first, second) = batch.split_at(batch.len() / 2);
                        todo.extend([second, first]);
                    }
                    other => other?,
                },
            }
        }
        Ok(())
    }

    async fn apply_one(&self, one: &Pending, checkpoint: &mut Checkpoint) -> Result<(), Halt> {
        let mut attempt = 1;
        let fault = loop {
            match self.fold(std::slice::from_ref(one), checkpoint).await {
                Err(Halt::Batch(fault)) if self.may_pass(&fault, attempt) => {
                    tokio::time::sleep(self.retry.delay(attempt)).await;
                    attempt += 1;
                }
                Err(Halt::Batch(fault)) => break fault,
                other => return other,
            }
        };
        tracing::error!(view = %self.name, sequence = %one.event.sequence, "set aside: {fault}");
        let keys = self
            .keys(std::slice::from_ref(one))
            .await
            .map(|mut keys| keys.pop().unwrap_or_default())
            .unwrap_or_default();
        self.park(one, &keys, DeadLetterKind::Failed, &fault.to_string(), checkpoint).await
    }

    /// Whether another try may work, and is left.
    fn may_pass(&self, fault: &PluginFault, attempt: u32) -> bool {
        fault.kind == FaultKind::Broke && attempt < self.retry.max_attempts
    }

    /// Keeps the event with the dead letters. Its keys take in nothing from now on, so that nothing is applied out of
    /// order, unless they go on without it: then nothing waits behind the letter, and it has no key.
    async fn park(
        &self,
        one: &Pending,
        keys: &[String],
        kind: DeadLetterKind,
        why: &str,
        checkpoint: &mut Checkpoint,
    ) -> Result<(), Halt> {
        if self.on_failure == OnFailure::Skip && kind == DeadLetterKind::Failed {
            let why = format!("its keys {} went on without it: {why}", keys.join(", "));
            self.set_aside(&one.item, None, kind, &why).await?;
        } else {
            let at = one.event.sequence;
            let Some(parked) = checkpoint.with_parked(keys, at) else {
                return Err(Halt::Full { at, parked_keys: checkpoint.parked.len() });
            };
            self.set_aside(&one.item, keys.first().map(String::as_str), kind, why).await?;
            *checkpoint = parked;
        }
        self.commit(&[], one.event.sequence, checkpoint).await
    }

    /// Folds a batch into the view, or nothing of it.
    async fn fold(&self, batch: &[Pending], checkpoint: &mut Checkpoint) -> Result<(), Halt> {
        let keys = self.keys(batch).await?;
        if !checkpoint.parked.is_empty()
            && let Some(at) =
                keys.iter().position(|keys| keys.iter().any(|key| checkpoint.parked.contains_key(key)))
        {
            return match batch {
                [one] => {
                    self.park(
                        one,
                        &keys[at],
                        DeadLetterKind::Parked,
                        "waits behind an earlier event of its key",
                        checkpoint,
                    )
                    .await
                }
                _ => Err(Halt::Batch(self.plugin.fault("an event of a parked key is in the batch"))),
            };
        }
        let events: Vec<RecordedEvent> = batch.iter().map(|p| p.event.clone()).collect();
        let changes = self.changes(&events, &keys).await?;
        let position = batch.last().map_or(checkpoint.position, |p| p.event.sequence);
        self.commit(&changes, position, checkpoint).await
    }

    /// The new values that events with these keys lead to.
    async fn changes(&self, events: &[RecordedEvent], keys: &[Vec<String>]) -> Result<Changes, Halt> {
        let touched: BTreeSet<&str> = keys.iter().flatten().map(String::as_str).collect();
        if touched.len() > MAX_ROWS {
            return Err(Halt::Batch(
                self.plugin
                    .fault(format!("{} keys in one batch; at most {MAX_ROWS} are allowed", touched.len())),
            ));
        }
        let views = self.present(&touched).await?;
        let changes =
            self.plugin.project(events, &views).await?.map_err(|failure| failure.into_fault(&self.plugin))?;
        Ok(self.check(changes, &views)?)
    }

    async fn keys(&self, batch: &[Pending]) -> Result<Vec<Vec<String>>, Halt> {
        let events: Vec<RecordedEvent> = batch.iter().map(|p| p.event.clone()).collect();
        self.keys_of(&events).await
    }

    async fn keys_of(&self, events: &[RecordedEvent]) -> Result<Vec<Vec<String>>, Halt> {
        let keys = self.plugin.keys(events).await?.map_err(|failure| failure.into_fault(&self.plugin))?;
        if keys.len() != events.len() {
            let what = format!("`keys` answered {} lists to {} events", keys.len(), events.len());
            return Err(self.plugin.fault(what).into());
        }
        if let Some(many) = keys.iter().map(Vec::len).find(|n| *n > MAX_KEYS_PER_EVENT) {
            let what =
                format!("`keys` named {many} keys for one event; at most {MAX_KEYS_PER_EVENT} are allowed");
            return Err(self.plugin.fault(what).into());
        }
        Ok(keys)
    }

    async fn present(&self, touched: &BTreeSet<&str>) -> Result<Vec<ViewChange>, Halt> {
        let escaped = touched.iter().map(|key| ViewKey::new(key)).collect::<Result<Vec<_>, _>>();
        let escaped = escaped.map_err(|what| self.plugin.fault(what))?;
        let values = self.store.read(&escaped).await?;
        Ok(touched
            .iter()
            .zip(values)
            .map(|(key, value)| ViewChange { key: (*key).to_owned(), value })
            .collect())
    }

    fn check(&self, changes: Vec<ViewChange>, given: &[ViewChange]) -> Result<Changes, PluginFault> {
        let given: BTreeSet<&str> = given.iter().map(|view| view.key.as_str()).collect();
        let mut checked = BTreeMap::new();
        for ViewChange { key, value } in changes {
            if !given.contains(key.as_str()) {
                return Err(self
                    .plugin
                    .fault(format!("`project` returned the key {key:?}, which `keys` did not name")));
            }
            if let Some(bytes) =
                value.as_ref().map(bytes::Bytes::len).filter(|bytes| *bytes > MAX_VALUE_BYTES)
            {
                return Err(self.plugin.fault(format!(
                    "the value of {key:?} has {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed"
                )));
            }
            let escaped = ViewKey::new(&key).map_err(|what| self.plugin.fault(what))?;
            if checked.insert(escaped, value).is_some() {
                return Err(self.plugin.fault(format!("`project` returned the key {key:?} twice")));
            }
        }
        Ok(checked.into_iter().collect())
    }

    async fn commit(
        &self,
        changes: &[(ViewKey, Option<bytes::Bytes>)],
        position: Sequence,
        checkpoint: &mut Checkpoint,
    ) -> Result<(), Halt> {
        let next = Checkpoint { position, ..checkpoint.clone() };
        match self.store.commit(changes, &next).await {
            Ok(revision) => {
                *checkpoint = Checkpoint { revision, ..next };
                Ok(())
            }
            Err(CommitError::Refused(why)) => {
                Err(Halt::Batch(self.plugin.fault(format!("its values: {why}"))))
            }
            Err(lost) => Err(Halt::Lost(lost)),
        }
    }

    async fn set_aside(
        &self,
        item: &FeedItem,
        key: Option<&str>,
        kind: DeadLetterKind,
        why: &str,
    ) -> Result<(), Unavailable> {
        let letter = DeadLetter {
            consumer: self.name.to_string(),
            key: key.map(str::to_owned),
            kind,
            message: item.message.clone(),
            cause: why.to_owned(),
            digest: Some(self.plugin.digest().to_owned()),
        };
        self.letters.keep(letter).await
    }
}
