//! Instances in the form of another version of the plugin. If the version that runs cannot migrate them, they go on with
//! that other version until they end. New instances begin with the version that runs.

use std::sync::Arc;

use super::input::{Input, What};
use super::instance::Instance;
use super::ports::{SagaPlugin, SagaStore};
use super::{Loaded, SagaFlow, Turn};
use crate::dead_letter::Retries;
use crate::id::InstanceId;
use crate::message::{EventType, RecordedEvent};
use crate::retry::NotProcessed;
use crate::trial::Version;

/// The versions of a saga's plugin that a host has.
#[derive(Debug, Clone)]
pub struct SagaVersions<P> {
    /// The version that runs.
    pub runs: Version<P>,
    /// Other versions, each with a state version of its own, for the instances in that form.
    pub draining: Vec<P>,
}

impl<P> From<P> for SagaVersions<P> {
    fn from(plugin: P) -> Self {
        Version::from(plugin).into()
    }
}

impl<P> From<Version<P>> for SagaVersions<P> {
    fn from(runs: Version<P>) -> Self {
        Self { runs, draining: Vec::new() }
    }
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// The versions that read an event, and whether each is the one that runs. That one comes first.
    pub(super) fn readers(&self, event: &RecordedEvent) -> impl Iterator<Item = (&Self, bool)> {
        let draining = self.draining.iter().map(|version| (&**version, false));
        std::iter::once((self, true)).chain(draining).filter(|(version, _)| version.reads_event(event))
    }

    /// The types of events that one of the versions reads.
    pub(super) fn reads(&self) -> Vec<EventType> {
        let mut types = self.plugin.descriptor().events.clone();
        for r#type in self.draining.iter().flat_map(|version| &version.plugin.descriptor().events) {
            if !types.contains(r#type) {
                types.push(r#type.clone());
            }
        }
        types
    }

    fn reads_event(&self, event: &RecordedEvent) -> bool {
        event.event.is_of(&self.plugin.descriptor().events)
    }

    /// What an instance gets of an event, in the version that runs or else in one that drains.
    pub(super) async fn what_of(
        &self,
        event: &RecordedEvent,
        id: &InstanceId,
    ) -> Result<Option<What>, NotProcessed> {
        for (version, runs) in self.readers(event) {
            let concerned = version.correlate(event).await?;
            if let Some((_, relation)) = concerned.into_iter().find(|(concerned, _)| concerned == id) {
                return Ok(Some(What::Event(Box::new(event.clone()), runs.then_some(relation))));
            }
        }
        Ok(None)
    }

    /// Has the instance react in the version that its state is of.
    pub(super) async fn turn_in_its_version(
        &self,
        id: &InstanceId,
        input: &Input,
        loaded: &mut Loaded,
    ) -> Result<Turn, NotProcessed> {
        let Some(version) = self.draining_of(&loaded.instance) else {
            // An event that concerns the instance in another version only is nothing to this one.
            let is_ours = !matches!(&input.what, What::Event(_, None));
            return if is_ours { self.turn(id, input, loaded).await } else { Ok(Turn::Done) };
        };
        if let What::Event(event, _) = &input.what {
            // Another version may relate the event to other instances.
            let is_concerned = version.reads_event(event)
                && version.correlate(event).await?.iter().any(|(concerned, _)| concerned == id);
            if !is_concerned {
                return Ok(Turn::Done);
            }
        }
        version.turn(id, input, loaded).await
    }

    /// The version with which an instance of another form goes on.
    fn draining_of(&self, instance: &Instance) -> Option<&Arc<Self>> {
        let ours = self.plugin.descriptor();
        if instance.state.is_none() || instance.state_version == ours.state_version || ours.migrates {
            return None;
        }
        self.draining
            .iter()
            .find(|version| version.plugin.descriptor().state_version == instance.state_version)
    }
}
