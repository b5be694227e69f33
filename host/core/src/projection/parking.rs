//! Handles the one event that cannot be applied: it is retried, then set aside, and its keys wait behind it.

use std::slice;

use super::batch::Part;
use super::pipeline::{Changes, Pipeline};
use super::{ProjectionFlow, ViewError, fold};
use crate::dead_letter::{DeadLetter, DeadLetterKind, OnFailure, Retries};
use crate::id::Sequence;
use crate::message::{Incoming, RecordedEvent};
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::projection::view::Checkpoint;
use crate::retry::Verdict;
use crate::store::Unavailable;

/// A single event.
#[derive(Clone, Copy)]
struct One<'a> {
    event: &'a RecordedEvent,
    message: &'a Incoming,
    /// The view's position after it.
    reaches: Sequence,
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Applies the first event of a part by itself, or keeps it as a dead letter.
    pub(super) async fn apply_one(
        &self,
        part: Part<'_>,
        reaches: Sequence,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        let ([event, ..], [message, ..], [keys, ..]) = (part.events, part.messages, part.keys) else {
            return Ok(());
        };
        let one = One { event, message, reaches };
        let mut keys = keys.clone();
        if let Ok(keys) = &keys
            && keys.iter().any(|key| pipeline.checkpoint().parked.contains_key(key))
        {
            let why = "waits behind an earlier event of its key";
            return self.park(one, keys, DeadLetterKind::Parked, why, pipeline).await;
        }
        let mut attempt = 1;
        let fault = loop {
            let tried = match &keys {
                Ok(keys) => self.fold(slice::from_ref(event), keys.iter(), reaches, pipeline).await,
                Err(fault) => Err(ViewError::Batch(fault.clone())),
            };
            match tried {
                Err(ViewError::Batch(fault))
                    if self.is_applied_by_version_before(event, reaches, &fault, pipeline).await? =>
                {
                    return Ok(());
                }
                Err(ViewError::Batch(fault)) => match self.retry.verdict_on(&fault, attempt) {
                    Verdict::Retry(delay) => {
                        let (sequence, why) = (event.sequence, fault.in_short());
                        tracing::warn!(view = %self.name, %sequence, ?delay, "will be tried again: {why}");
                        tokio::time::sleep(delay).await;
                        attempt += 1;
                        if keys.is_err() {
                            let asked = fold::keys(&*self.plugin, slice::from_ref(event)).await;
                            keys = asked.map(|keys| keys.into_iter().flatten().collect());
                        }
                    }
                    Verdict::SetAside => break fault,
                },
                other => return other,
            }
        };
        tracing::error!(view = %self.name, sequence = %event.sequence, "set aside: {fault}");
        self.park(one, &keys.unwrap_or_default(), DeadLetterKind::Failed, &fault.to_string(), pipeline).await
    }

    /// Keeps the event as a dead letter. From now on its keys take no events, so that none is applied out of order.
    /// With `on-failure = "skip"` they go on without the event: then nothing waits behind the dead letter, and it has
    /// no key.
    async fn park(
        &self,
        one: One<'_>,
        keys: &[String],
        kind: DeadLetterKind,
        why: &str,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        // An event may be reported as parked only after the events before it are stored.
        pipeline.arrive().await?;
        let mut next = pipeline.checkpoint().clone();
        if self.on_failure == OnFailure::Skip && kind == DeadLetterKind::Failed {
            let why = format!("its keys {} went on without it: {why}", keys.join(", "));
            self.set_aside(one.message, None, kind, &why).await?;
        } else {
            let at = one.event.sequence;
            let parked_keys = next.parked.len();
            next = next.with_parked(keys, at).ok_or(ViewError::Full { at, parked_keys })?;
            self.set_aside(one.message, keys.first().map(String::as_str), kind, why).await?;
        }
        self.commit_now(Changes::new(), Checkpoint { position: one.reaches, ..next }, pipeline).await
    }

    pub(super) async fn set_aside(
        &self,
        message: &Incoming,
        key: Option<&str>,
        kind: DeadLetterKind,
        why: &str,
    ) -> Result<(), Unavailable> {
        let dead_letter = DeadLetter {
            consumer: self.name.to_string(),
            key: key.map(str::to_owned),
            kind,
            message: message.clone(),
            cause: why.to_owned(),
            digest: Some(self.plugin.digest().to_owned()),
        };
        self.dead_letters.keep(dead_letter).await.map(drop)
    }
}
