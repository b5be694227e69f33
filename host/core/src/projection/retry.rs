//! Retries parked events on an operator's request.
//!
//! All parked events of the view are retried, in stream order, each by itself: one event may touch several keys, so the
//! queues of keys depend on each other. An event that fails again stays parked, and so does every event behind it. In
//! the end the keys that lack no event are live again. The flow does nothing else meanwhile, so no further event is
//! parked.
//!
//! Every commit moves the checkpoint's mark of a key, the first event that the key lacks, beyond the applied event. So
//! after a crash, or when another host was faster, the mark identifies a dead letter whose event was applied, and the
//! dead letter is only removed.
//!
//! A host may hold an old checkpoint: it was paused while another host continued and parked events. Two things keep it
//! from removing their dead letters. It compares its checkpoint with the stored one first. And it skips every dead
//! letter of an event that its checkpoint has not reached. Once a checkpoint has reached an event and does not lack it,
//! no later checkpoint lacks it, so removing its dead letter is right however old that checkpoint is.

use std::collections::BTreeSet;

use super::pipeline::{Changes, Pipeline};
use super::{ProjectionFlow, REQUESTS_EVERY, ViewError, fold};
use crate::dead_letter::{DeadLetter, Retries};
use crate::id::Sequence;
use crate::message::RecordedEvent;
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::recorded;
use crate::retry::Verdict;

/// The result for one dead letter.
enum Tried {
    /// The view has its event, or does not read it.
    Applied,
    /// The dead letter stays, and so do later ones that touch these keys.
    Stays { keys: Vec<String>, cause: Option<String> },
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Retries the parked events if an operator requested it.
    pub(super) async fn retry_if_asked(&self, pipeline: &mut Pipeline<V>) -> Result<(), ViewError> {
        while let Some(request) = self.dead_letters.request(&self.name).await? {
            pipeline.check_is_current().await?;
            tracing::info!(view = %self.name, "trying parked events again");
            self.retry_parked(pipeline).await?;
            self.dead_letters.close(&request).await?;
        }
        Ok(())
    }

    /// Waits until an operator requests a retry.
    pub(super) async fn asked(&self) {
        while !matches!(self.dead_letters.request(&self.name).await, Ok(Some(_))) {
            tokio::time::sleep(REQUESTS_EVERY).await;
        }
    }

    async fn retry_parked(&self, pipeline: &mut Pipeline<V>) -> Result<(), ViewError> {
        // A stored value may have been the cause, and an operator may have corrected it without the flow's knowledge.
        pipeline.forget_values();
        let mut blocked = BTreeSet::new();
        let (position, mut ahead) = (pipeline.checkpoint().position, 0);
        for place in self.dead_letters.places(&self.name, None).await? {
            if place.message > position {
                ahead += 1;
                continue;
            }
            let Some(dead_letter) = self.dead_letters.dead_letter(place.dead_letter).await? else { continue };
            match self.try_dead_letter(&dead_letter, &blocked, pipeline).await? {
                Tried::Applied => self.dead_letters.settle(place.dead_letter).await?,
                Tried::Stays { keys, cause } => {
                    blocked.extend(keys);
                    if let Some(cause) = cause {
                        tracing::error!(view = %self.name, dead_letter = %place.dead_letter, "failed again: {cause}");
                        self.dead_letters.note_failure(place.dead_letter, &cause).await?;
                    }
                }
            }
        }
        if ahead > 0 {
            tracing::info!(
                view = %self.name, %position, dead_letters = ahead,
                "dead letters of events that the view has not reached yet are left alone; ask for them again later"
            );
        }
        if pipeline.checkpoint().parked.keys().any(|key| !blocked.contains(key)) {
            let mut next = pipeline.checkpoint().clone();
            next.parked.retain(|key, _| blocked.contains(key));
            self.commit_now(Changes::new(), next, pipeline).await?;
        }
        Ok(())
    }

    async fn try_dead_letter(
        &self,
        dead_letter: &DeadLetter,
        blocked: &BTreeSet<String>,
        pipeline: &mut Pipeline<V>,
    ) -> Result<Tried, ViewError> {
        let key = dead_letter.key.clone().unwrap_or_default();
        let sequence = dead_letter.message.sequence;
        let stays = |keys: Vec<String>, cause: String| Ok(Tried::Stays { keys, cause: Some(cause) });
        let event = match recorded::of_message(&self.stream, &dead_letter.message) {
            Ok(event) => event,
            Err(error) => return stays(vec![key], format!("it is not an event: {error}")),
        };
        if !event.event.is_of(&self.plugin.descriptor().events) {
            return Ok(Tried::Applied);
        }
        let events = std::slice::from_ref(&event);
        let keys = match fold::keys(&*self.plugin, events).await {
            Ok(mut keys) => keys.pop().unwrap_or_default(),
            Err(fault) => return stays(vec![key], fault.to_string()),
        };
        if keys.is_empty() {
            return Ok(Tried::Applied);
        }
        let lacks =
            |key: &String| pipeline.checkpoint().parked.get(key).is_some_and(|first| *first <= sequence);
        if keys.contains(&key) && !lacks(&key) {
            return Ok(Tried::Applied);
        }
        if !keys.contains(&key) || !keys.iter().all(lacks) {
            let why = "the plugin names other keys for it than those that it was parked under";
            return stays(keys, format!("{why}: a new version of the view is built from the first event on"));
        }
        if keys.iter().any(|key| blocked.contains(key)) {
            return Ok(Tried::Stays { keys, cause: None });
        }
        match self.apply_parked(events, &keys, pipeline).await {
            Ok(()) => Ok(Tried::Applied),
            Err(ViewError::Batch(fault)) => stays(keys, fault.to_string()),
            Err(error) => Err(error),
        }
    }

    /// Applies one parked event, with as many attempts as any other event.
    async fn apply_parked(
        &self,
        events: &[RecordedEvent],
        keys: &[String],
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        let mut attempt = 1;
        let changes = loop {
            match self.changes(events, keys.iter(), pipeline).await {
                Err(ViewError::Batch(fault)) => match self.retry.verdict_on(&fault, attempt) {
                    Verdict::Retry(delay) => tokio::time::sleep(delay).await,
                    Verdict::SetAside => return Err(fault.into()),
                },
                changes => break changes?,
            }
            attempt += 1;
        };
        let next = events.last().map_or(Sequence::NONE, |event| Sequence(event.sequence.0 + 1));
        let mut applied = pipeline.checkpoint().clone();
        applied.parked.extend(keys.iter().map(|key| (key.clone(), next)));
        self.commit_now(changes, applied, pipeline).await
    }
}
