//! Generations: a handler's flow with one version of its plugin, and the one that takes its place.
//!
//! Every turn of an entity belongs to the generation that began it. The one after takes an entity over at its next
//! command: what the old version gives as a snapshot, the new one restores, in memory, and nothing is read. Where their
//! states have different forms, or either cannot do that, the entity is loaded as if it had not been alive; where it has many
//! events, this is done beside its commands, which the version before decides meanwhile.
//!
//! An entity whose sandbox is worn out moves in the same way, from one sandbox of its generation to another.
//!
//! A version that was taken back hands nothing on, and its snapshots are not used: its fold may be what was wrong.
//!
//! Two versions at once decide exactly once, as two hosts do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::CommandFlow;
use super::trial::{HandlerVersion, OnTrial};
use crate::command::entity::{CacheLimits, LiveEntity};
use crate::command::ports::{CommandStore, EntityInstance, HandlerPlugin};
use crate::dead_letter::Retries;
use crate::subject::Entity;

/// The most generations of which entities are handed on. Those of earlier ones are loaded when they are needed, or versions
/// that came and went would keep their sandboxes.
pub const MAX_BEFORE: usize = 4;

/// The generation before, for as long as it has entities or work.
#[derive(Debug)]
pub(super) struct Before<F>(Mutex<Option<Arc<F>>>);

impl<F> Default for Before<F> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<F> Before<F> {
    fn of(flow: Arc<F>) -> Self {
        Self(Mutex::new(Some(flow)))
    }

    fn get(&self) -> Option<Arc<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// The same, but what these versions of the plugin made of events is not used.
    #[must_use]
    pub fn without(self, withdrawn: Arc<BTreeSet<String>>) -> Self {
        Self { withdrawn, ..self }
    }

    /// The generation after this one, with another version of the plugin.
    #[must_use]
    pub fn succeeded_by(self: &Arc<Self>, version: HandlerVersion<P>) -> Self {
        self.on_trial.end();
        self.forget_beyond(MAX_BEFORE - 1);
        let HandlerVersion { plugin, trial, withdrawn } = version;
        let (name, stream) = (self.name.clone(), self.stream.clone());
        let (store, dead_letters) = (self.store.clone(), self.dead_letters.clone());
        Self {
            failures: self.failures.clone(),
            before: Before::of(self.clone()),
            on_trial: OnTrial::of(self.clone(), trial),
            withdrawn,
            ..Self::new(name, stream, plugin, store, dead_letters, self.settings)
        }
    }

    /// Forgets the generations that are more than so many before this one.
    fn forget_beyond(&self, generations: usize) {
        match (generations, self.before.get()) {
            (0, _) => self.before.forget(),
            (more, Some(before)) => before.forget_beyond(more - 1),
            (_, None) => {}
        }
    }

    /// A live entity, of this generation or of one before, in a sandbox that is not worn out.
    pub(super) async fn take(&self, entity: &Entity) -> Taken<LiveEntity<P::Instance>, Self> {
        match self.entities.take(entity) {
            Some(live) if live.is_retired() => {
                let restored = Box::pin(self.restored(&self.plugin, entity, live)).await;
                restored.map_or_else(|_| Taken::Nothing, Taken::Alive)
            }
            Some(live) => Taken::Alive(live),
            None => Box::pin(self.take_over(entity)).await,
        }
    }

    /// Keeps an entity for its next command. Those of generations before make room first.
    pub(super) fn put(&self, entity: Entity, live: LiveEntity<P::Instance>) {
        let room = self.entities.put(entity, live);
        self.make_room(room);
    }

    /// Has those before keep within this, and forgets one that has nothing left.
    fn make_room(&self, room: CacheLimits) {
        let Some(before) = self.before.get() else { return };
        before.make_room(before.entities.keep_within(room));
        // Where only this generation knows it, it has no work in hand either.
        let known_by_others = Arc::strong_count(&before) > 2;
        if before.entities.is_empty() && before.before.get().is_none() && !known_by_others {
            tracing::info!(handler = %self.name, digest = before.plugin.digest(), "a version of the plugin is no longer in use");
            self.before.forget();
        }
    }

    async fn take_over(&self, entity: &Entity) -> Taken<LiveEntity<P::Instance>, Self> {
        let mut before = self.before.get();
        while let Some(generation) = before {
            let Some(live) = generation.entities.take(entity) else {
                before = generation.before.get();
                continue;
            };
            if self.withdrawn.contains(generation.plugin.digest()) {
                break;
            }
            return match self.restored(&generation.plugin, entity, live).await {
                Ok(live) => Taken::Alive(live),
                Err(live) if self.is_to_be_loaded_beside(entity, &live) => {
                    generation.put(entity.clone(), live);
                    Taken::StaysWith(generation)
                }
                Err(_) => Taken::Nothing,
            };
        }
        Taken::Nothing
    }

    /// Lets those before forget an entity.
    pub(super) fn forget_before(&self, entity: &Entity) {
        let mut before = self.before.get();
        while let Some(generation) = before {
            drop(generation.entities.take(entity));
            before = generation.before.get();
        }
    }

    /// The entity in another sandbox, of this generation, or as it was.
    async fn restored(
        &self,
        old: &P,
        entity: &Entity,
        mut live: LiveEntity<P::Instance>,
    ) -> Result<LiveEntity<P::Instance>, LiveEntity<P::Instance>> {
        let (was, is) = (old.descriptor(), self.plugin.descriptor());
        if (&was.identity.name, was.state_version) != (&is.identity.name, is.state_version) {
            return Err(live);
        }
        let state = match live.instance() {
            Ok(instance) => instance.snapshot().await.ok().flatten(),
            Err(_) => None,
        };
        let Some(state) = state else { return Err(live) };
        match self.plugin.restore(entity.id(), &state, self.isolation(entity)).await {
            Ok(Ok(instance)) => return Ok(live.moved_to(instance)),
            Ok(Err(why)) => tracing::warn!(
                entity = entity.prefix(),
                digest = self.plugin.digest(),
                "loaded anew: the plugin refuses the state that was handed on: {why}"
            ),
            Err(fault) => {
                tracing::warn!(entity = entity.prefix(), "loaded anew: {}", fault.in_short());
                self.set_apart(entity);
            }
        }
        Err(live)
    }
}

/// A live entity, if there is one.
pub(super) enum Taken<L, F> {
    /// It can decide.
    Alive(L),
    /// A generation before decides for as long as this one loads it.
    StaysWith(Arc<F>),
    /// It has to be loaded.
    Nothing,
}
