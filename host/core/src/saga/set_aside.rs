//! Inputs that cannot be handled: they become dead letters, and the later inputs of the instance wait behind them.

use std::time::Duration;

use super::input::Input;
use super::instance::Instance;
use super::ports::{SagaPlugin, SagaStore};
use super::{Loaded, MAX_CONFLICTS, SagaFlow};
use crate::dead_letter::{DeadLetter, DeadLetterKind, OnFailure, Parking, Retries};
use crate::id::InstanceId;
use crate::message::Incoming;
use crate::retry::NotProcessed;
use crate::store::CommitError;

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Whether a quarantined instance may go on, because it has no dead letters any more. If not, the input is parked.
    pub(super) async fn is_free(
        &self,
        id: &InstanceId,
        input: &Input,
        loaded: &mut Loaded,
    ) -> Result<bool, NotProcessed> {
        let by = loaded.instance.quarantined_by.clone().unwrap_or_default();
        for _ in 0..MAX_CONFLICTS {
            let Some(last) = self.dead_letters.last(&self.id, id.as_str()).await? else {
                // The end of the quarantine is stored with the reaction.
                loaded.instance.quarantined_by = None;
                return Ok(true);
            };
            let why = format!("it waits behind {by}");
            let dead_letter = self.dead_letter(&input.message, Some(id), DeadLetterKind::Parked, why);
            match self.dead_letters.keep_behind(dead_letter, last).await? {
                Parking::Parked => return Ok(false),
                Parking::Overtaken => {}
                Parking::Failed(cause) => return Err(NotProcessed::Failed(cause)),
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    /// Keeps the input as a dead letter. Unless the instance goes on without it, marks the instance, so that its later
    /// inputs are parked behind the dead letter. Returns the wait before the next try, or `None` if it is done.
    pub(super) async fn set_aside(
        &self,
        id: &InstanceId,
        input: &Input,
        stop: &NotProcessed,
    ) -> Option<Duration> {
        let cause = stop.to_string();
        let dead_letter = match self.on_failure {
            OnFailure::Park => {
                self.dead_letter(&input.message, Some(id), DeadLetterKind::Failed, cause.clone())
            }
            // Nothing waits behind this dead letter, so it has no key.
            OnFailure::Skip => {
                let why = format!("instance {id} went on without it: {cause}");
                self.dead_letter(&input.message, None, DeadLetterKind::Failed, why)
            }
        };
        let letter = dead_letter.id();
        let kept = async {
            self.dead_letters.keep(dead_letter).await?;
            match self.on_failure {
                OnFailure::Park => self.quarantine(id, &letter).await,
                OnFailure::Skip => Ok(()),
            }
        };
        match kept.await {
            Ok(()) => {
                tracing::error!("set aside: {cause}");
                None
            }
            Err(stop) => {
                let delay = self.retry.delay(1);
                tracing::warn!(?delay, "will be tried again: {}", stop.in_short());
                Some(delay)
            }
        }
    }

    async fn quarantine(&self, id: &InstanceId, by: &str) -> Result<(), NotProcessed> {
        for _ in 0..MAX_CONFLICTS {
            let (instance, revision) = self.store.load(id).await?;
            let instance = Instance { quarantined_by: Some(by.to_owned()), ..instance.unwrap_or_default() };
            match self.store.save(id, &instance, &[], revision).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Unclear(away)) => return Err(away.into()),
                Err(CommitError::Refused(why)) => return Err(self.plugin.fault(why).into()),
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    pub(super) fn dead_letter(
        &self,
        message: &Incoming,
        instance: Option<&InstanceId>,
        kind: DeadLetterKind,
        cause: String,
    ) -> DeadLetter {
        DeadLetter {
            consumer: self.id.to_string(),
            key: instance.map(ToString::to_string),
            kind,
            message: message.clone(),
            cause,
            digest: Some(self.plugin.digest().to_owned()),
        }
    }
}
