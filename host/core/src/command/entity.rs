//! Live entities: a state in its sandbox, with the message that it has reached and the commands that it has seen end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::command::history::EntityHistory;
use crate::command::ports::{EntityInstance, EntityMessage, NewMessage, Stored, StoredMessage};
use crate::contract::MAX_FOLDED_EVENTS;
use crate::id::{CommandId, Sequence};
use crate::message::{Command, RecordedEvent};
use crate::plugin::PluginFault;
use crate::subject::Entity;

/// An entity's state, never without its sequence.
///
/// The history outlives the sandbox: where folding failed, it is still known which commands have ended, so that a
/// command whose events are stored is never called failed.
#[derive(Debug)]
pub struct LiveEntity<I> {
    instance: Result<I, PluginFault>,
    history: EntityHistory,
    /// The sequence of its last message, event or mark: what the next append expects.
    last_message: Sequence,
    /// Whether later commands wait behind its dead letters, as far as its last message says.
    held: bool,
    /// A command up to here in the log may have a mark that the history does not know.
    marks_unknown_up_to: Sequence,
    /// How many events it has folded since its last snapshot.
    unsaved: u64,
    snapshot_wanted: bool,
}

impl<I: EntityInstance> LiveEntity<I> {
    /// An entity with this past and the state that it made.
    pub fn new(instance: Result<I, PluginFault>, history: EntityHistory) -> Self {
        let last_message = history.last_event();
        let marks_unknown_up_to = Sequence::NONE;
        Self {
            instance,
            history,
            last_message,
            held: false,
            marks_unknown_up_to,
            unsaved: 0,
            snapshot_wanted: false,
        }
    }

    /// Its last message as it was read, and the last command in the log after that: a mark that is stored later lies
    /// behind this message.
    pub fn was_read(&mut self, last: Option<&StoredMessage>, last_command: Sequence) {
        self.see_last(last);
        self.marks_unknown_up_to = last_command;
    }

    fn see_last<B>(&mut self, last: Option<&Stored<B>>) {
        self.last_message = last.map_or(Sequence::NONE, |last| last.sequence);
        // What others wrote says nothing of dead letters, so they are asked.
        self.held = last.is_some_and(|last| last.links.as_ref().is_none_or(|links| links.held));
    }

    /// The sequence of its last message, event or mark.
    pub fn last_message(&self) -> Sequence {
        self.last_message
    }

    /// Whether commands wait behind its dead letters, as far as its last message says.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Lets later commands go on: there are no dead letters any more.
    pub fn release(&mut self) {
        self.held = false;
    }

    /// Whether this command may have ended with a mark that the history does not know.
    pub fn may_have_marked(&self, command: &Command) -> bool {
        command.logged_at <= self.marks_unknown_up_to
    }

    /// These are all the commands that have marks.
    pub fn knows_marks(&mut self, of: &[CommandId]) {
        of.iter().for_each(|command| self.history.push_mark(command));
        self.marks_unknown_up_to = Sequence::NONE;
    }

    /// What is known of it beside its state.
    pub fn history(&self) -> &EntityHistory {
        &self.history
    }

    /// The same, to be changed.
    pub fn history_mut(&mut self) -> &mut EntityHistory {
        &mut self.history
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

    /// Whether it has a sandbox that works.
    pub fn is_alive(&self) -> bool {
        self.instance.as_ref().is_ok_and(EntityInstance::is_alive)
    }

    /// Whether it has to move to another sandbox before its next command.
    pub fn is_retired(&self) -> bool {
        self.instance.as_ref().is_ok_and(EntityInstance::is_retired)
    }

    /// Its sandbox, to decide in, or what broke it.
    pub fn instance(&mut self) -> Result<&mut I, PluginFault> {
        self.instance.as_mut().map_err(|fault| fault.clone())
    }

    /// The same entity with its state in another sandbox.
    #[must_use]
    pub fn moved_to(self, instance: I) -> Self {
        Self { instance: Ok(instance), ..self }
    }

    /// Takes in messages that follow its last one, in order.
    pub async fn fold(&mut self, messages: Vec<StoredMessage>) {
        let new: Vec<_> =
            messages.into_iter().filter(|message| message.sequence > self.last_message).collect();
        self.was_stored(&new);
        let events: Vec<_> =
            new.into_iter().filter_map(StoredMessage::into_event).map(|e| as_folded(e.body)).collect();
        self.evolve(&events).await;
    }

    /// Takes in what is new among its messages since its last event. Marks that are not among them are there no more.
    pub async fn catch_up(&mut self, messages: Vec<StoredMessage>) {
        let last = messages.last().map(|last| Stored {
            body: (),
            sequence: last.sequence,
            links: last.links.clone(),
        });
        self.fold(messages).await;
        self.see_last(last.as_ref());
    }

    /// Takes in messages that are about to be stored behind its last one: only the state knows them until
    /// [`was_stored`](Self::was_stored). An entity whose messages are not stored after all has to be dropped.
    pub async fn fold_ahead(&mut self, messages: &[StoredMessage]) -> Result<(), PluginFault> {
        let events = messages.iter().filter_map(|message| match &message.body {
            EntityMessage::Event(event) => Some(as_folded(event.clone())),
            EntityMessage::Mark(_) => None,
        });
        let events: Vec<_> = events.collect();
        self.evolve(&events).await;
        self.instance().map(drop)
    }

    /// The state has these messages already, which lie in the stream now.
    pub fn was_stored(&mut self, messages: &[StoredMessage]) {
        for Stored { links, body, .. } in messages {
            match body {
                EntityMessage::Event(event) => {
                    self.unsaved += 1;
                    self.history.push(event, links.as_ref().map(|links| &links.cause));
                }
                EntityMessage::Mark(mark) => self.history.push_mark(&mark.command_id),
            }
        }
        if let Some(last) = messages.last() {
            self.see_last(Some(last));
        }
    }

    async fn evolve(&mut self, events: &[RecordedEvent]) {
        for (n, chunk) in events.chunks(MAX_FOLDED_EVENTS).enumerate() {
            // Other entities of the shard do not wait until all is folded.
            if n > 0 {
                tokio::task::yield_now().await;
            }
            if let Ok(instance) = &mut self.instance
                && let Err(fault) = instance.evolve(chunk).await
            {
                self.instance = Err(fault);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, EntityInstance::memory_bytes) + self.history.bytes()
    }
}

/// A fold must give the same state whether the event was read back or was just stored, when the stream's own time is not
/// known: the event's time, which is the command's, stands for it.
fn as_folded(event: RecordedEvent) -> RecordedEvent {
    RecordedEvent { recorded_at: event.event.time.unwrap_or(event.recorded_at), ..event }
}

/// The messages as the stream has them now, at these sequences.
pub(crate) fn as_stored(
    stream: &Arc<str>,
    messages: Vec<NewMessage>,
    sequences: &[Sequence],
) -> Vec<StoredMessage> {
    let stored = messages.into_iter().zip(sequences).map(|(NewMessage { links, body, .. }, &sequence)| {
        let body = match body {
            EntityMessage::Event(event) => {
                let recorded_at = event.time.unwrap_or_default();
                EntityMessage::Event(RecordedEvent {
                    event,
                    stream: stream.clone(),
                    sequence,
                    part: 0,
                    recorded_at,
                })
            }
            EntityMessage::Mark(mark) => EntityMessage::Mark(mark),
        };
        Stored { sequence, links: Some(links), body }
    });
    stored.collect()
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
        Self { entities: 100_000, bytes: 3 << 28 }
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

    /// Takes an entity out to work on it, unless its sandbox broke meanwhile. Whoever fails drops it, and the next command
    /// loads it again.
    pub fn take(&self, entity: &Entity) -> Option<LiveEntity<I>> {
        self.take_if(entity, |_| true)
    }

    /// Takes an entity out if there is something to do about it.
    pub fn take_if(
        &self,
        entity: &Entity,
        wanted: impl FnOnce(&LiveEntity<I>) -> bool,
    ) -> Option<LiveEntity<I>> {
        let mut held = self.held();
        held.entities.peek(entity).filter(|(_, live)| wanted(live))?;
        let (bytes, live) = held.entities.pop(entity)?;
        held.bytes -= bytes;
        live.is_alive().then_some(live)
    }

    /// Whether no entity is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().entities.is_empty()
    }

    /// Drops entities that were not used for longest until the others keep within these limits. Returns what is left of
    /// the limits.
    pub fn keep_within(&self, limits: CacheLimits) -> CacheLimits {
        let mut dropped = Vec::new(); // outside the lock: a sandbox takes its time to go
        self.held().keep_within(limits, &mut dropped)
    }

    /// Drops the half of the entities that was not used for longest.
    pub fn drop_half(&self) {
        let entities = self.held().entities.len() / 2;
        self.keep_within(CacheLimits { entities, bytes: usize::MAX });
    }

    /// Puts an entity back, unless its sandbox broke. What no longer fits is dropped. Returns what is left of the limits.
    pub fn put(&self, entity: Entity, live: LiveEntity<I>) -> CacheLimits {
        if !live.is_alive() {
            return self.keep_within(self.limits);
        }
        let bytes = live.bytes();
        let mut dropped = Vec::new(); // outside the lock: a sandbox takes its time to go
        let mut held = self.held();
        held.bytes += bytes;
        if let Some((_, (old_bytes, old))) = held.entities.push(entity, (bytes, live)) {
            held.bytes -= old_bytes;
            dropped.push(old);
        }
        let left = held.keep_within(self.limits, &mut dropped);
        drop(held);
        left
    }

    fn held(&self) -> MutexGuard<'_, Held<I>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I> Held<I> {
    /// Moves the entities that were not used for longest to `dropped` until the others keep within these limits. Returns
    /// what is left of the limits.
    fn keep_within(&mut self, limits: CacheLimits, dropped: &mut Vec<LiveEntity<I>>) -> CacheLimits {
        while self.entities.len() > limits.entities || self.bytes > limits.bytes {
            let Some((_, (bytes, live))) = self.entities.pop_lru() else { break };
            self.bytes -= bytes;
            dropped.push(live);
        }
        CacheLimits {
            entities: limits.entities.saturating_sub(self.entities.len()),
            bytes: limits.bytes.saturating_sub(self.bytes),
        }
    }
}
