use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::network::FlakyNetwork;
use crate::projection::ports::ViewStore;
use crate::projection::view::{Checkpoint, ViewKey};
use crate::store::{CommitError, Unavailable};

/// One view and its checkpoint in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct MemoryViews {
    network: Arc<FlakyNetwork>,
    kept: Arc<Mutex<(BTreeMap<ViewKey, Bytes>, Checkpoint)>>,
}

impl MemoryViews {
    /// An empty view.
    #[must_use]
    pub fn new(network: Arc<FlakyNetwork>) -> Self {
        Self { network, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, (BTreeMap<ViewKey, Bytes>, Checkpoint)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All values.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<ViewKey, Bytes> {
        self.kept().0.clone()
    }

    /// The checkpoint, read without the network.
    #[must_use]
    pub fn present_checkpoint(&self) -> Checkpoint {
        self.kept().1.clone()
    }
}

impl ViewStore for MemoryViews {
    async fn checkpoint(&self) -> Result<Checkpoint, Unavailable> {
        self.network.request("reading a checkpoint", || self.present_checkpoint()).await
    }

    async fn read(&self, keys: &[ViewKey]) -> Result<Vec<Option<Bytes>>, Unavailable> {
        let read = || {
            let kept = self.kept();
            keys.iter().map(|key| kept.0.get(key).cloned()).collect()
        };
        self.network.request("reading a view", read).await
    }

    async fn commit(
        &self,
        changes: &[(ViewKey, Option<Bytes>)],
        checkpoint: &Checkpoint,
    ) -> Result<u64, CommitError> {
        let write = || {
            let mut kept = self.kept();
            if kept.1.revision != checkpoint.revision {
                return Err(CommitError::Conflict);
            }
            for (key, value) in changes {
                match value {
                    Some(value) => drop(kept.0.insert(key.clone(), value.clone())),
                    None => drop(kept.0.remove(key)),
                }
            }
            let revision = checkpoint.revision + 1;
            kept.1 = Checkpoint { revision, ..checkpoint.clone() };
            Ok(revision)
        };
        self.network.request("committing a view", write).await?
    }
}
