//! The ports of a projection: a store of views, and a plugin in the role `projection`.

use std::future::Future;

use bytes::Bytes;

use super::view::{Checkpoint, ViewChange, ViewKey};
use crate::message::{EventType, Failure, RecordedEvent};
use crate::plugin::{Identity, Plugin, PluginFault};
use crate::store::{CommitError, Unavailable};

/// A projection plugin's description of itself.
#[derive(Debug, Clone)]
pub struct ProjectionDescriptor {
    /// The plugin's own name and version, for people.
    pub identity: Identity,
    /// The event types that the plugin reads. An empty list means all types.
    pub events: Vec<EventType>,
    /// The version of the form of the view.
    pub view_version: u32,
}

/// A plugin in the role `projection`.
pub trait ProjectionPlugin: Plugin {
    /// The plugin's description of itself.
    fn descriptor(&self) -> &ProjectionDescriptor;

    /// The keys that each event touches.
    fn keys(
        &self,
        events: &[RecordedEvent],
    ) -> impl Future<Output = Result<Result<Vec<Vec<String>>, Failure>, PluginFault>> + Send;

    /// The new values for a batch.
    fn project(
        &self,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> impl Future<Output = Result<Result<Vec<ViewChange>, Failure>, PluginFault>> + Send;
}

/// The store of one projection's view and checkpoint.
pub trait ViewStore: Send + Sync + 'static {
    /// The checkpoint, with the revision for the next commit.
    fn checkpoint(&self) -> impl Future<Output = Result<Checkpoint, Unavailable>> + Send;

    /// The present values of these keys, in the same order.
    fn read(&self, keys: &[ViewKey]) -> impl Future<Output = Result<Vec<Option<Bytes>>, Unavailable>> + Send;

    /// Stores the values and the checkpoint together, if the stored checkpoint is still at the given one's revision.
    /// Returns the new revision.
    fn commit(
        &self,
        changes: &[(ViewKey, Option<Bytes>)],
        checkpoint: &Checkpoint,
    ) -> impl Future<Output = Result<u64, CommitError>> + Send;
}
