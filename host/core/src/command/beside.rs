//! Loading beside: an entity with many events that a version cannot take over is loaded while the version before goes on
//! deciding, so that no command waits for it.
//!
//! What is decided meanwhile is behind the loaded state. The first append that expects an older message conflicts, and the
//! entity takes in what came, as it does when another host was faster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::CommandFlow;
use crate::command::entity::LiveEntity;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::Retries;
use crate::subject::Entity;

/// The most entities of a shard that are loaded beside commands at a time.
pub(super) const MAX_LOADED_BESIDE: usize = 2;

/// The entities that are to be loaded beside their commands.
#[derive(Debug, Default)]
pub(super) struct Beside(Mutex<HashMap<Entity, Stage>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Wanted,
    Loading,
    /// Its next command loads it, and shows why.
    Failed,
}

impl Beside {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Entity, Stage>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// Whether the version before keeps an entity for now, because to load it would take long.
    pub(super) fn is_to_be_loaded_beside(&self, entity: &Entity, live: &LiveEntity<P::Instance>) -> bool {
        let is_long = live.history().backlinks().count() > self.settings.load_beside_from;
        let is_wanted = || {
            self.beside.with(|stages| *stages.entry(entity.clone()).or_insert(Stage::Wanted) != Stage::Failed)
        };
        is_long && live.is_alive() && is_wanted()
    }

    /// The next entity to be loaded beside commands.
    pub(super) fn next_beside(&self) -> Option<Entity> {
        self.beside.with(|stages| {
            let (entity, stage) = stages.iter_mut().find(|(_, stage)| **stage == Stage::Wanted)?;
            *stage = Stage::Loading;
            Some(entity.clone())
        })
    }

    /// Loads it. From then on this version decides its commands.
    pub(super) async fn load_beside(self: Arc<Self>, entity: Entity) {
        let loaded = self.load_entity(&entity).await;
        let failed = match loaded {
            Ok(mut live) => match live.instance() {
                Ok(_) => {
                    self.put(entity.clone(), live);
                    self.forget_before(&entity);
                    self.beside.with(|stages| stages.remove(&entity));
                    return;
                }
                Err(fault) => fault.in_short(),
            },
            Err(stop) => stop.to_string(),
        };
        tracing::info!(entity = entity.prefix(), "not loaded beside its commands: {failed}");
        self.beside.with(|stages| stages.insert(entity, Stage::Failed));
    }
}
