//! Retries the inputs of a quarantined instance on an operator's request.
//!
//! The inputs are retried in stream order, up to the first one that fails again. The instance's record says which
//! inputs it has handled, so an input whose dead letter could not be removed is not handled twice. The quarantine ends
//! with the last dead letter: the next input finds none and goes through.

use tracing::Instrument;

use super::SagaFlow;
use crate::dead_letter::{DeadLetter, Retries};
use crate::id::InstanceId;
use crate::recorded;
use crate::retry::{NotProcessed, Verdict};
use crate::saga::ports::{SagaPlugin, SagaStore};
use crate::store::Unavailable;
use crate::telemetry;

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Retries the inputs of an instance if an operator requested it.
    pub async fn retry_if_asked(&self) -> Result<(), Unavailable> {
        while let Some(request) = self.dead_letters.request(&self.name).await? {
            tracing::info!(saga = %self.name, instance = request.key, "trying inputs again");
            if let Ok(instance) = InstanceId::new(&request.key) {
                self.retry_instance(&instance).await?;
            }
            self.dead_letters.close(&request).await?;
        }
        Ok(())
    }

    async fn retry_instance(&self, instance: &InstanceId) -> Result<(), Unavailable> {
        // An input that is parked meanwhile joins the end of the queue.
        while let Some(place) =
            self.dead_letters.places(&self.name, Some(instance.as_str())).await?.first().copied()
        {
            let Some(dead_letter) = self.dead_letters.dead_letter(place.dead_letter).await? else { continue };
            match self.try_dead_letter(instance, &dead_letter).await {
                Ok(()) => self.dead_letters.settle(place.dead_letter).await?,
                Err(NotProcessed::Unavailable(away)) => return Err(away),
                Err(stop) => {
                    tracing::error!(saga = %self.name, %instance, dead_letter = %place.dead_letter, "failed again: {stop}");
                    return self.dead_letters.note_failure(place.dead_letter, &stop.to_string()).await;
                }
            }
        }
        Ok(())
    }

    /// Handles the input in a dead letter, with as many attempts as any other input.
    async fn try_dead_letter(
        &self,
        instance: &InstanceId,
        dead_letter: &DeadLetter,
    ) -> Result<(), NotProcessed> {
        let mut attempt = 1;
        loop {
            match self.handle_dead_letter(instance, dead_letter).await {
                Err(stop @ NotProcessed::Plugin(_)) => match self.retry.verdict(&stop, attempt) {
                    Verdict::Retry(delay) => tokio::time::sleep(delay).await,
                    Verdict::SetAside => return Err(stop),
                },
                done => return done,
            }
            attempt += 1;
        }
    }

    async fn handle_dead_letter(
        &self,
        instance: &InstanceId,
        dead_letter: &DeadLetter,
    ) -> Result<(), NotProcessed> {
        let message = &dead_letter.message;
        let event = recorded::of_message(&self.stream, message)
            .map_err(|error| NotProcessed::Unreadable(error.into()))?;
        if !event.event.is_of(&self.plugin.descriptor().events) {
            return Ok(());
        }
        let correlations = self.correlate(&event).await?;
        let relation = correlations.into_iter().find(|(concerned, _)| concerned == instance);
        match relation.map(|(_, relation)| relation) {
            Some(relation) => {
                let span = telemetry::saga_input(&self.name, &self.plugin, message, &event, Some(instance));
                self.advance(instance, relation, &event, None).instrument(span).await
            }
            // The plugin no longer relates the event to this instance.
            None => Ok(()),
        }
    }
}
