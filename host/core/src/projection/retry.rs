//! Trying parked events again, when an operator asks for it.
//!
//! All parked events of the view are tried, in stream order, each by itself: one event may touch several keys, so the
//! queues of keys hang together. What fails again stays, and so does everything behind it; in the end the keys that lack
//! nothing any more are live again. The flow does nothing else meanwhile, so no event is parked behind its back.
//!
//! Every commit moves the checkpoint's mark of the first event that a key lacks beyond the event that it applies. So after
//! a crash, or when another host was faster, a letter whose event was applied is known by the mark and only taken out.
//!
//! A host may hold an old checkpoint: it was paused, and another host has gone on and parked events meanwhile. Two things
//! keep it from taking their letters out. It compares its checkpoint with the stored one first. And it leaves alone every
//! letter of an event that its checkpoint has not reached: once a checkpoint has reached an event and does not lack it, no
//! later checkpoint lacks it, so taking its letter out is right however old that checkpoint is.

use std::collections::BTreeSet;

use super::pipeline::{Changes, Pipeline};
use super::{ProjectionFlow, REQUESTS_EVERY, ViewError, fold};
use crate::dead_letter::{DeadLetter, Retries};
use crate::id::Sequence;
use crate::message::RecordedEvent;
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::recorded;
use crate::retry::Verdict;

/// What becomes of one letter.
enum Tried {
    /// The view has its event, or does not care for it.
    Applied,
    /// It stays, and with it whatever touches these keys.
    Stays { keys: Vec<String>, cause: Option<String> },
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Tries what is parked, if somebody asks for it.
    pub(super) async fn retry_if_asked(&self, pipeline: &mut Pipeline<V>) -> Result<(), ViewError> {
        while let Some(request) = self.letters.request(&self.name).await? {
            pipeline.check_is_current().await?;
            tracing::info!(view = %self.name, "trying parked events again");
            self.retry_parked(pipeline).await?;
            self.letters.close(&request).await?;
        }
        Ok(())
    }

    /// Waits until somebody asks for it.
    pub(super) async fn asked(&self) {
        while !matches!(self.letters.request(&self.name).await, Ok(Some(_))) {
            tokio::time::sleep(REQUESTS_EVERY).await;
        }
    }

    async fn retry_parked(&self, pipeline: &mut Pipeline<V>) -> Result<(), ViewError> {
        // The cause may have been a value, which somebody has put right behind the flow's back.
        pipeline.forget_values();
        let mut blocked = BTreeSet::new();
        let (position, mut ahead) = (pipeline.checkpoint().position, 0);
        for place in self.letters.places(&self.name, None).await? {
            if place.message > position {
                ahead += 1;
                continue;
            }
            let Some(letter) = self.letters.letter(place.letter).await? else { continue };
            match self.try_letter(&letter, &blocked, pipeline).await? {
                Tried::Applied => self.letters.settle(place.letter).await?,
                Tried::Stays { keys, cause } => {
                    blocked.extend(keys);
                    if let Some(cause) = cause {
                        tracing::error!(view = %self.name, letter = %place.letter, "failed again: {cause}");
                        self.letters.note_failure(place.letter, &cause).await?;
                    }
                }
            }
        }
        if ahead > 0 {
            tracing::info!(
                view = %self.name, %position, letters = ahead,
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

    async fn try_letter(
        &self,
        letter: &DeadLetter,
        blocked: &BTreeSet<String>,
        pipeline: &mut Pipeline<V>,
    ) -> Result<Tried, ViewError> {
        let key = letter.key.clone().unwrap_or_default();
        let sequence = letter.message.sequence;
        let stays = |keys: Vec<String>, cause: String| Ok(Tried::Stays { keys, cause: Some(cause) });
        let event = match recorded::of_message(&self.stream, &letter.message) {
            Ok(event) => event,
            Err(error) => return stays(vec![key], format!("it is no event: {error}")),
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
            Err(halt) => Err(halt),
        }
    }

    /// Applies one parked event, with as many attempts as any other.
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
