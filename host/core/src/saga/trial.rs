//! A saga's version on trial: where it breaks, the version before reacts at once.

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
        let Some((before, fault)) = self.version_before(&stop) else { return Err(stop) };
        match Box::pin(before.advance(id, input, floor, known, false)).await {
            Ok(()) => {
                self.note(before, fault);
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
        let Some((before, fault)) = self.version_before(&stop) else { return Err(stop) };
        let is_read = event.event.is_of(&before.plugin.descriptor().events);
        match if is_read { before.correlate(event).await } else { Ok(Vec::new()) } {
            Ok(concerned) => {
                self.note(before, fault);
                Ok(concerned)
            }
            Err(_) => Err(stop),
        }
    }

    /// The version before, if it may do better.
    fn version_before<'s>(&self, stop: &'s NotProcessed) -> Option<(&Self, &'s PluginFault)> {
        let NotProcessed::Plugin(fault) = stop else { return None };
        let on_trial = self.on_trial.as_ref().filter(|_| fault.is_breakage())?;
        Some((&*on_trial.before, fault))
    }

    fn note(&self, before: &Self, fault: &PluginFault) {
        let digest = before.plugin.digest();
        tracing::warn!(saga = %self.id, digest, "the version before reacted: {}", fault.in_short());
        if let Some(OnTrial { trial, .. }) = &self.on_trial {
            trial.count(fault);
        }
    }
}
