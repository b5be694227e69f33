//! Which entities have a sandbox of their own: those that broke a shared one, until they have behaved.
//!
//! What breaks in a shared sandbox is no proof against the entity that was called: another may have spoiled its memory,
//! or filled it. So the command is tried again at once in a sandbox of its own, and only what fails there counts as an
//! attempt.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::{CommandFlow, Wanted};
use crate::command::outcome::Answer;
use crate::command::ports::{CommandStore, HandlerPlugin, Isolation};
use crate::dead_letter::Retries;
use crate::message::{Command, Incoming};
use crate::plugin::{FaultKind, PluginFault};
use crate::retry::NotProcessed;
use crate::subject::Entity;

/// The most entities of a shard that are remembered as apart. The one that broke a sandbox longest ago is forgotten first.
const MAX_APART: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The entities that are alone in their sandbox.
#[derive(Debug)]
pub(super) struct Apart(Mutex<LruCache<Entity, ()>>);

impl Default for Apart {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_APART)))
    }
}

impl Apart {
    fn entities(&self) -> MutexGuard<'_, LruCache<Entity, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// In which sandbox an entity is loaded.
    pub(super) fn isolation(&self, entity: &Entity) -> Isolation {
        if self.apart.entities().contains(entity) { Isolation::Alone } else { Isolation::Shared }
    }

    /// From now on the entity is loaded into a sandbox of its own.
    pub(super) fn set_apart(&self, entity: &Entity) {
        self.apart.entities().push(entity.clone(), ());
    }

    /// The entity has ended a command without breaking anything. The next time that it is loaded it shares a sandbox again.
    pub(super) fn behaved(&self, entity: &Entity) {
        let mut apart = self.apart.entities();
        if !apart.is_empty() {
            apart.pop(entity);
        }
    }

    /// The end of a command whose shared sandbox broke at this fault.
    pub(super) async fn end_apart(
        &self,
        message: &Incoming,
        command: &Command,
        wanted: Wanted<'_>,
        mut fault: PluginFault,
    ) -> Result<Answer, NotProcessed> {
        if fault.kind == FaultKind::Gone {
            match self.end(message, command, wanted).await {
                Err(NotProcessed::Plugin(again)) if again.shared => fault = again,
                ended => return ended,
            }
        }
        tracing::warn!("a shared sandbox broke; it is tried again in one of its own: {}", fault.what);
        self.set_apart(&command.entity);
        self.end(message, command, wanted).await
    }
}
