//! A saga's version on trial: where it breaks, the version before reacts at once.

use std::sync::Arc;

use super::input::Input;
use super::model::Relation;
use super::ports::{SagaPlugin, SagaStore};
use super::{Loaded, SagaFlow};
use crate::dead_letter::Retries;
use crate::id::{InstanceId, Sequence};
use crate::message::RecordedEvent;
use crate::plugin::PluginFault;
use crate::retry::NotProcessed;
use crate::trial::OnTrial;

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Has the version before react to an input that broke this one. Otherwise returns what this one did.
    pub(super) async fn advance_by_version_before(
        &self,
        id: &InstanceId,
        input: &Input,
        floor: &(impl Fn(&str) -> Sequence + Send + Sync),
        known: &mut Option<Loaded>,
        stop: NotProcessed,
    ) -> Result<(), NotProcessed> {
        let Some((on_trial, fault)) = self.version_before(&stop) else { return Err(stop) };
        match Box::pin(on_trial.before.advance(id, input, floor, known, false)).await {
            Ok(()) => {
                self.note(on_trial, fault);
                Ok(())
            }
            Err(NotProcessed::Plugin(_)) => Err(stop),
            Err(other) => Err(other),
        }
    }

    /// The same for the instances that an event concerns.
    pub(super) async fn correlate_by_version_before(
        &self,
        event: &RecordedEvent,
        stop: NotProcessed,
    ) -> Result<Vec<(InstanceId, Relation)>, NotProcessed> {
        let Some((on_trial, fault)) = self.version_before(&stop) else { return Err(stop) };
        let before = &on_trial.before;
        let is_read = event.event.is_of(&before.plugin.descriptor().events);
        match if is_read { before.correlate(event).await } else { Ok(Vec::new()) } {
            Ok(concerned) => {
                self.note(on_trial, fault);
                Ok(concerned)
            }
            Err(_) => Err(stop),
        }
    }

    /// The version before, if it may do better, and what it may do better.
    fn version_before<'s>(&self, stop: &'s NotProcessed) -> Option<(&OnTrial<Arc<Self>>, &'s PluginFault)> {
        let NotProcessed::Plugin(fault) = stop else { return None };
        Some((self.on_trial.as_ref().filter(|_| fault.is_breakage())?, fault))
    }

    fn note(&self, OnTrial { trial, before }: &OnTrial<Arc<Self>>, fault: &PluginFault) {
        let digest = before.plugin.digest();
        tracing::warn!(saga = %self.id, digest, "the version before reacted: {}", fault.in_short());
        trial.count(fault);
    }
}
