//! A projection's version on trial: an event that it breaks on, the version before applies at once.

use std::slice;
use std::sync::Arc;

use super::pipeline::{Changes, Pipeline};
use super::{ProjectionFlow, ViewError, fold};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::RecordedEvent;
use crate::plugin::PluginFault;
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::projection::view::Checkpoint;
use crate::trial::OnTrial;

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Has the version before apply an event that broke this one. `false`: there is none, or it could not either.
    pub(super) async fn is_applied_by_version_before(
        &self,
        event: &RecordedEvent,
        position: Sequence,
        fault: &PluginFault,
        pipeline: &mut Pipeline<V>,
    ) -> Result<bool, ViewError> {
        let Some(OnTrial { trial, before }) = self.on_trial.as_ref().filter(|_| fault.is_breakage()) else {
            return Ok(false);
        };
        match self.with(before).apply(event, position, pipeline).await {
            Ok(()) => {
                let digest = before.digest();
                tracing::warn!(view = %self.name, digest, "the version before applied it: {}", fault.in_short());
                trial.count(fault);
                Ok(true)
            }
            Err(ViewError::Batch(fault)) => {
                tracing::debug!(view = %self.name, "the version before breaks, too: {}", fault.in_short());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn with(&self, plugin: &Arc<P>) -> Self {
        Self {
            plugin: plugin.clone(),
            on_trial: None,
            name: self.name.clone(),
            stream: self.stream.clone(),
            store: self.store.clone(),
            dead_letters: self.dead_letters.clone(),
            ..*self
        }
    }

    async fn apply(
        &self,
        event: &RecordedEvent,
        position: Sequence,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        if !event.event.is_of(&self.plugin.descriptor().events) {
            let next = Checkpoint { position, ..pipeline.checkpoint().clone() };
            return self.commit(Changes::new(), next, pipeline).await;
        }
        let event = slice::from_ref(event);
        let keys = fold::keys(&*self.plugin, event).await?;
        if let Some(parked) =
            keys.iter().flatten().find(|key| pipeline.checkpoint().parked.contains_key(*key))
        {
            return Err(self.plugin.fault(format!("its key {parked:?} waits behind a dead letter")).into());
        }
        self.fold(event, keys.iter().flatten(), position, pipeline).await
    }
}
