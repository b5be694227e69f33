//! Live entities: a state in its sandbox, with the sequence it has reached and the commands it has seen take effect.

use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::command::backlinks::Backlinks;
use crate::command::history::EntityHistory;
use crate::command::outcome::OutcomeRecord;
use crate::command::ports::{EntityInstance, StoredEvent};
use crate::contract::MAX_FOLDED_EVENTS;
use crate::id::Sequence;
use crate::message::Command;
use crate::plugin::PluginFault;
use crate::subject::Entity;

/// An entity's state, never without its sequence.
///
/// The past outlives the sandbox: where folding failed, it is still known which commands took effect, so that a
/// command whose events are stored is never called failed.
#[derive(Debug)]
pub struct LiveEntity<I> {
    instance: Result<I, PluginFault>,
    past: EntityHistory,
    /// How many events it has folded since its last snapshot.
    unsaved: u64,
    snapshot_wanted: bool,
}

impl<I: EntityInstance> LiveEntity<I> {
    /// An entity that has no events yet.
    pub fn new(instance: Result<I, PluginFault>) -> Self {
        Self { instance, past: EntityHistory::default(), unsaved: 0, snapshot_wanted: false }
    }

    /// An entity as it was in a snapshot: the state with the past that made it.
    pub fn restored(instance: I, past: EntityHistory) -> Self {
        Self { instance: Ok(instance), past, unsaved: 0, snapshot_wanted: false }
    }

    /// The sequence of its last event.
    pub fn at(&self) -> Sequence {
        self.past.at()
    }

    /// Where its events lie.
    pub fn history(&self) -> &Backlinks {
        self.past.history()
    }

    /// What its events were.
    pub fn past(&self) -> &EntityHistory {
        &self.past
    }

    /// How many events it has folded since its last snapshot.
    pub fn unsaved(&self) -> u64 {
        self.unsaved
    }

    /// Asks for a snapshot at the next occasion, however few events there are.
    pub fn want_snapshot(&mut self) {
        self.snapshot_wanted = true;
    }

    /// Whether its next snapshot is due, which is so after this many events.
    pub fn is_snapshot_due(&self, after_events: u64) -> bool {
        self.instance.is_ok() && self.unsaved > 0 && (self.snapshot_wanted || self.unsaved >= after_events)
    }

    /// Its state as bytes, if the plugin gives it; the next one is due as if it did.
    pub async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        self.unsaved = 0;
        self.snapshot_wanted = false;
        self.instance()?.snapshot().await
    }

    /// Its sandbox, to decide in, or what broke it.
    pub fn instance(&mut self) -> Result<&mut I, PluginFault> {
        self.instance.as_mut().map_err(|fault| fault.clone())
    }

    /// Takes in events that follow its last one, in order.
    pub async fn fold(&mut self, events: Vec<StoredEvent>) {
        let new = events.into_iter().filter(|e| e.recorded.sequence > self.at());
        let (recorded, causes): (Vec<_>, Vec<_>) = new
            .map(|StoredEvent { mut recorded, cause, .. }| {
                // A fold must give the same state whether the event was read back or was just stored, when the
                // stream's own time is not known.
                recorded.recorded_at = recorded.event.time.unwrap_or(recorded.recorded_at);
                (recorded, cause)
            })
            .unzip();
        self.unsaved += recorded.len() as u64;
        for chunk in recorded.chunks(MAX_FOLDED_EVENTS) {
            if let Ok(instance) = &mut self.instance
                && let Err(fault) = instance.evolve(chunk).await
            {
                self.instance = Err(fault);
            }
        }
        recorded.into_iter().zip(causes).for_each(|(recorded, cause)| self.past.push(recorded, cause));
    }

    /// Takes in events that are about to be stored behind its last one: only the state knows them until
    /// [`was_stored`](Self::was_stored). An entity whose events are not stored after all has to be dropped.
    pub async fn fold_ahead(&mut self, events: &[StoredEvent]) -> Result<(), PluginFault> {
        let recorded: Vec<_> = events.iter().map(|e| e.recorded.clone()).collect();
        self.instance()?.evolve(&recorded).await
    }

    /// The events that were folded ahead lie in the stream now.
    pub fn was_stored(&mut self, events: Vec<StoredEvent>) {
        self.unsaved += events.len() as u64;
        events.into_iter().for_each(|event| self.past.push(event.recorded, event.cause));
    }

    /// The outcome of the command with this one's id, if its events are in the entity's history.
    pub fn effect_of(&self, command: &Command, decided_by: &str) -> Option<OutcomeRecord> {
        self.past.effect_of(command, decided_by)
    }

    fn bytes(&self) -> usize {
        const PER_EVENT_BYTES: usize = 256;
        self.instance.as_ref().map_or(0, EntityInstance::memory_bytes)
            + usize::try_from(self.history().count()).unwrap_or(usize::MAX).saturating_mul(PER_EVENT_BYTES)
    }
}

/// How many live entities are kept between commands.
#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// The most entities.
    pub entities: usize,
    /// The most bytes, sandboxes and histories together.
    pub bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entities: 10_000, bytes: 1 << 30 }
    }
}

/// The live entities that are not being worked on, the least recently used going first.
#[derive(Debug)]
pub struct EntityCache<I> {
    limits: CacheLimits,
    held: Mutex<Held<I>>,
}

#[derive(Debug)]
struct Held<I> {
    entities: LruCache<Entity, (usize, LiveEntity<I>)>,
    bytes: usize,
}

impl<I: EntityInstance> EntityCache<I> {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self { limits, held: Mutex::new(Held { entities: LruCache::unbounded(), bytes: 0 }) }
    }

    /// Takes an entity out to work on it. Whoever fails drops it, and the next command loads it again.
    pub fn take(&self, entity: &Entity) -> Option<LiveEntity<I>> {
        self.take_if(entity, |_| true)
    }

    /// Takes an entity out if there is something to do about it.
    pub fn take_if(
        &self,
        entity: &Entity,
        wanted: impl FnOnce(&LiveEntity<I>) -> bool,
    ) -> Option<LiveEntity<I>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entities.peek(entity).filter(|(_, live)| wanted(live))?;
        let (bytes, live) = held.entities.pop(entity)?;
        held.bytes -= bytes;
        Some(live)
    }

    /// Puts an entity back, unless its sandbox broke. What no longer fits is dropped.
    pub fn put(&self, entity: Entity, live: LiveEntity<I>) {
        if live.instance.is_err() {
            return;
        }
        let bytes = live.bytes();
        let mut dropped = Vec::new(); // outside the lock: a sandbox takes its time to go
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.bytes += bytes;
            if let Some((_, (old_bytes, old))) = held.entities.push(entity, (bytes, live)) {
                held.bytes -= old_bytes;
                dropped.push(old);
            }
            while held.entities.len() > self.limits.entities || held.bytes > self.limits.bytes {
                let Some((_, (old_bytes, old))) = held.entities.pop_lru() else { break };
                held.bytes -= old_bytes;
                dropped.push(old);
            }
        }
        drop(dropped);
    }
}
