//! Retries the inputs of a quarantined instance on an operator's request.
//!
//! They are retried in the order in which they were kept, up to the first one that fails again. The instance says which
//! inputs it has handled, so an input whose dead letter could not be removed is not handled twice. The quarantine ends
//! with the last dead letter: the next input finds none and goes through.

use tracing::Instrument;

use super::SagaFlow;
use super::input::{Input, OwnInput};
use crate::dead_letter::{DeadLetter, Retries};
use crate::id::{InstanceId, Sequence};
use crate::intake::IntakeError;
use crate::plugin::FaultKind;
use crate::recorded;
use crate::retry::{NotProcessed, Verdict};
use crate::saga::ports::{SagaPlugin, SagaStore};
use crate::store::Unavailable;

/// Counts a failure of the plugin, and returns the number for [`crate::retry::RetryPolicy::verdict`].
pub(super) fn attempt(stop: &NotProcessed, faults: &mut u32) -> u32 {
    match stop {
        NotProcessed::Plugin(fault) if fault.kind == FaultKind::NoRoom => 1,
        NotProcessed::Plugin(_) => {
            *faults += 1;
            *faults
        }
        _ => (*faults).max(1),
    }
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Retries the dead letters of an instance.
    ///
    /// # Errors
    /// The store does not answer. Dead letters that were settled stay settled.
    pub(super) async fn retry_instance(&self, id: &InstanceId) -> Result<(), Unavailable> {
        tracing::info!(saga = %self.id, instance = %id, "trying inputs again");
        // An input that is parked meanwhile joins the end of the queue.
        while let Some(at) = self.first_dead_letter(id).await? {
            let Some(dead_letter) = self.dead_letters.dead_letter(at).await? else { continue };
            match self.try_dead_letter(id, &dead_letter).await {
                Ok(()) => self.dead_letters.settle(at).await?,
                Err(NotProcessed::Unavailable(away)) => return Err(away),
                Err(stop) => {
                    tracing::error!(saga = %self.id, instance = %id, dead_letter = %at, "failed again: {stop}");
                    return self.dead_letters.note_failure(at, &stop.to_string()).await;
                }
            }
        }
        Ok(())
    }

    async fn first_dead_letter(&self, id: &InstanceId) -> Result<Option<Sequence>, Unavailable> {
        let places = self.dead_letters.places(&self.id, Some(id.as_str())).await?;
        Ok(places.into_iter().map(|place| place.dead_letter).min())
    }

    /// Handles the input in a dead letter, with as many attempts as any other input.
    async fn try_dead_letter(&self, id: &InstanceId, dead_letter: &DeadLetter) -> Result<(), NotProcessed> {
        let mut faults = 0;
        loop {
            match self.handle_dead_letter(id, dead_letter).await {
                Err(stop @ NotProcessed::Plugin(_)) => {
                    match self.retry.verdict(&stop, attempt(&stop, &mut faults)) {
                        Verdict::Retry(delay) => tokio::time::sleep(delay).await,
                        Verdict::SetAside => return Err(stop),
                    }
                }
                done => return done,
            }
        }
    }

    async fn handle_dead_letter(
        &self,
        id: &InstanceId,
        dead_letter: &DeadLetter,
    ) -> Result<(), NotProcessed> {
        let message = dead_letter.message.clone();
        let inputs =
            match OwnInput::from_bytes(&message.payload).ok().filter(|_| self.is_own(&message.stream)) {
                Some(own) => vec![Input::own(message, own)],
                None => {
                    let event = recorded::of_message(&self.stream, &message)
                        .map_err(|error| NotProcessed::Unreadable(IntakeError::from(error)))?;
                    // The plugin may no longer relate the event to this instance.
                    let position = event.position();
                    let what = self.what_of(&event, id).await?;
                    what.map(|what| Input { message, position, what }).into_iter().collect()
                }
            };
        for input in inputs {
            let span = input.span(&self.id, &self.plugin, Some(id));
            // The commands of the last try may not have been sent.
            self.advance(id, &input, &|_: &str| Sequence::NONE, &mut None, true).instrument(span).await?;
        }
        Ok(())
    }

    /// Whether this is the saga's own stream.
    fn is_own(&self, stream: &crate::id::Name) -> bool {
        stream.as_str() != &*self.stream
    }
}
