//! How an entity is loaded, from a snapshot if there is a good one, and how snapshots are taken.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::CommandFlow;
use super::answer::MarkLookUp;
use crate::command::entity::LiveEntity;
use crate::command::history::EntityHistory;
use crate::command::ports::{CommandStore, EntityInstance, HandlerPlugin, StoredMessage};
use crate::command::snapshot::{self, Snapshot, SnapshotKey, SnapshotPolicy};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::Command;
use crate::retry::NotProcessed;
use crate::store::{CommitError, Unavailable};
use crate::subject::Entity;

/// How many snapshots of one shard are taken and kept at once. Where there are more, some are taken later.
pub const MAX_SNAPSHOTS_IN_HAND: usize = 16;
/// How many entities are remembered whose snapshots break their sandbox.
const MAX_BREAKING: usize = 1000;

/// When snapshots are taken, and which not.
#[derive(Debug)]
pub(super) struct Snapshots {
    policy: SnapshotPolicy,
    room: Arc<Semaphore>,
    /// Entities whose snapshots break their sandbox: not tried again, or every command would have to load its entity.
    breaking: Mutex<LruCache<Entity, ()>>,
}

impl Snapshots {
    pub(super) fn new(policy: SnapshotPolicy) -> Self {
        Self {
            policy,
            room: Arc::new(Semaphore::new(MAX_SNAPSHOTS_IN_HAND)),
            breaking: Mutex::new(LruCache::unbounded()),
        }
    }

    fn is_due<I: EntityInstance>(&self, entity: &Entity, live: &LiveEntity<I>) -> bool {
        let breaks = |entity| {
            let breaking = self.breaking.lock().unwrap_or_else(PoisonError::into_inner);
            breaking.contains(entity)
        };
        live.is_snapshot_due(self.policy.events) && !breaks(entity)
    }

    fn breaks(&self, entity: &Entity) {
        let mut breaking = self.breaking.lock().unwrap_or_else(PoisonError::into_inner);
        breaking.push(entity.clone(), ());
        if breaking.len() > MAX_BREAKING {
            breaking.pop_lru();
        }
    }
}

/// A snapshot that was taken and is to be kept. It counts against [`MAX_SNAPSHOTS_IN_HAND`] until it is dropped.
#[derive(Debug)]
pub struct TakenSnapshot {
    key: SnapshotKey,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// The entity of a command, perhaps without what other hosts just stored, and the command's mark.
    ///
    /// Two round trips: the snapshot and the entity's last message; then at once the events that the snapshot lacks, the
    /// end of the log, and the mark. The order matters: a mark that neither the mark's look-up finds nor the last
    /// message precedes was stored after the entity was read, so an append on what was read conflicts.
    pub(super) async fn load(
        &self,
        command: &Command,
    ) -> Result<(LiveEntity<P::Instance>, MarkLookUp), NotProcessed> {
        let mark = async { Ok(self.store.mark(&command.entity, &command.id).await?) };
        let (live, mark) = self.load_with(&command.entity, mark).await?;
        Ok((live, mark.map_or(MarkLookUp::Done, |mark| MarkLookUp::Found(Box::new(mark)))))
    }

    /// The entity for no command in particular. It does not know its marks.
    pub(super) async fn load_entity(&self, entity: &Entity) -> Result<LiveEntity<P::Instance>, NotProcessed> {
        self.load_with(entity, async { Ok(()) }).await.map(|(live, ())| live)
    }

    async fn load_with<T>(
        &self,
        entity: &Entity,
        mark: impl Future<Output = Result<T, NotProcessed>>,
    ) -> Result<(LiveEntity<P::Instance>, T), NotProcessed> {
        let began = Instant::now();
        let key = SnapshotKey::new(self.plugin.descriptor(), entity);
        let (snapshot, last) = tokio::join!(self.store.snapshot(&key), self.store.last(entity));
        let last = last?;
        let rest = self.rest(entity, &key, snapshot, last.clone());
        let last_command = async { Ok(self.store.last_command().await?) };
        let (mut live, last_command, mark) = tokio::try_join!(rest, last_command, mark)?;
        live.was_read(last.as_ref(), last_command);
        let SnapshotPolicy { load_time, load_events, .. } = self.snapshots.policy;
        if began.elapsed() > load_time && live.unsaved() >= load_events {
            live.want_snapshot();
        }
        Ok((live, mark))
    }

    /// The entity up to its last message: from its snapshot if that is good, else from all its events.
    async fn rest(
        &self,
        entity: &Entity,
        key: &SnapshotKey,
        snapshot: Result<Option<Bytes>, Unavailable>,
        last: Option<StoredMessage>,
    ) -> Result<LiveEntity<P::Instance>, NotProcessed> {
        let restored = match snapshot {
            Ok(Some(snapshot)) => self.restore(entity, key, &snapshot, last.clone()).await?,
            Ok(None) => return self.fold_all(entity, last).await,
            Err(away) => Err(format!("it cannot be read: {away}")),
        };
        match restored {
            Ok(live) => Ok(live),
            Err(reason) => {
                tracing::warn!(entity = entity.prefix(), plugin = self.plugin.name(), digest = self.plugin.digest(), %key, "the snapshot is ignored, all events are folded: {reason}");
                let mut live = self.fold_all(entity, last).await?;
                live.want_snapshot();
                Ok(live)
            }
        }
    }

    async fn fold_all(
        &self,
        entity: &Entity,
        last: Option<StoredMessage>,
    ) -> Result<LiveEntity<P::Instance>, NotProcessed> {
        let events = match last {
            Some(last) => self.store.history(entity, Sequence::NONE, last).await?,
            None => Vec::new(),
        };
        let mut live = LiveEntity::new(
            self.plugin.create(entity.id(), self.isolation(entity)).await,
            EntityHistory::default(),
        );
        live.fold(events.into_iter().map(StoredMessage::from).collect()).await;
        Ok(live)
    }

    /// An entity from a snapshot and what came since. The inner error says why the snapshot is not to be used.
    async fn restore(
        &self,
        entity: &Entity,
        key: &SnapshotKey,
        snapshot: &[u8],
        last: Option<StoredMessage>,
    ) -> Result<Result<LiveEntity<P::Instance>, String>, NotProcessed> {
        let Snapshot { taken_by, history, state } = match snapshot::decode(snapshot, key) {
            Ok(decoded) => decoded,
            Err(why) => return Ok(Err(why)),
        };
        if self.withdrawn.contains(&taken_by) {
            return Ok(Err(format!("it is by {taken_by}, which was taken back")));
        }
        let at = history.last_event();
        let events = match last {
            // With the last event that it knows, which tells whether it is of this stream as it is now.
            Some(last) if last.sequence >= at => self.store.history(entity, Sequence(at.0 - 1), last).await?,
            _ => {
                return Ok(Err(format!(
                    "the entity's last message, as it was read, lies before its event {at}"
                )));
            }
        };
        if let Err(why) = history.joins(&events) {
            return Ok(Err(why));
        }
        let instance = match self.plugin.restore(entity.id(), &state, self.isolation(entity)).await {
            Ok(Ok(instance)) => instance,
            Ok(Err(why)) => return Ok(Err(format!("the plugin refuses it: {why}"))),
            Err(fault) => {
                self.set_apart(entity);
                return Ok(Err(format!("restoring it broke: {}", fault.what)));
            }
        };
        let mut live = LiveEntity::new(Ok(instance), history);
        live.fold(events.into_iter().map(StoredMessage::from).collect()).await;
        let folded = live.unsaved();
        Ok(match live.instance() {
            Ok(_) => {
                tracing::debug!(entity = entity.prefix(), %key, folded, "restored from its snapshot");
                Ok(live)
            }
            Err(fault) => {
                self.set_apart(entity);
                Err(format!("what came since cannot be folded on it: {}", fault.what))
            }
        })
    }

    /// A snapshot of the entity, if one is due. To be called between its commands; who waits for one of them should have
    /// its answer before.
    pub async fn take_snapshot(&self, entity: &Entity) -> Option<TakenSnapshot> {
        let room = self.snapshots.room.clone().try_acquire_owned().ok()?;
        let mut live = self.entities.take_if(entity, |live| self.snapshots.is_due(entity, live))?;
        let state = match live.snapshot().await {
            Ok(state) => state,
            Err(fault) => {
                tracing::warn!(
                    entity = entity.prefix(),
                    "no snapshots are taken of this entity by this process: {fault}"
                );
                self.snapshots.breaks(entity);
                return None;
            }
        };
        let key = SnapshotKey::new(self.plugin.descriptor(), entity);
        let encoded = state.map(|state| snapshot::encode(&key, self.plugin.digest(), live.history(), &state));
        self.put(entity.clone(), live);
        match encoded? {
            Ok(bytes) => Some(TakenSnapshot { key, bytes, _room: room }),
            Err(why) => {
                tracing::debug!(entity = entity.prefix(), %key, "no snapshot: {why}");
                None
            }
        }
    }

    /// Keeps it. One that cannot be kept is no harm: a later one will be.
    pub async fn keep_snapshot(&self, snapshot: TakenSnapshot) {
        let TakenSnapshot { key, bytes, _room } = snapshot;
        let size = bytes.len();
        match self.store.keep_snapshot(&key, bytes).await {
            Ok(()) => tracing::debug!(%key, bytes = size, "a snapshot is kept"),
            Err(CommitError::Refused(why)) => tracing::debug!(%key, bytes = size, "no snapshot: {why}"),
            Err(error) => tracing::info!(%key, "the snapshot may not be kept, a later one will be: {error}"),
        }
    }
}
