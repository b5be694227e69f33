//! The flow of a projection: read a batch, fold it into the values that it touches, store values and checkpoint
//! together.
//!
//! The checkpoint is the only record of the view's position, and every write is conditional on it. So no message is
//! acknowledged: a flow that starts, or loses a race, continues after the checkpoint.

mod batch;
mod batch_size;
mod fold;
mod parking;
mod pipeline;
pub mod ports;
mod reader;
mod retry;
mod rows;
mod trial;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::consumer::EventFeed;
use crate::dead_letter::{DeadLetterKind, OnFailure, Retries};
use crate::id::{Name, Sequence};
use crate::plugin::PluginFault;
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::projection::view::{Checkpoint, MAX_PARKED_BYTES};
use crate::retry::RetryPolicy;
use crate::store::{CommitError, Unavailable};
use crate::trial::{OnTrial, Version};
use batch::Batch;
use batch_size::BatchSize;
use pipeline::{Changes, Pipeline, Stopped};
use reader::{MAX_AHEAD_BATCHES, Reader};
pub use reader::{MAX_AHEAD_BYTES, MAX_READ_BYTES};

/// The most values that one commit stores. With the checkpoint they fit the server's atomic batch of 1,000 messages. A
/// batch of events that touches more values takes several commits.
pub const MAX_ROWS: usize = 900;
/// The interval at which a host that lost the race for the checkpoint watches the checkpoint before it takes over.
const STANDBY: Duration = Duration::from_secs(2);
/// The interval at which the flow looks for operators' requests.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);

/// One running projection.
#[derive(Debug)]
pub struct ProjectionFlow<P, V, L> {
    /// The name of the projection in the configuration, and of its view.
    pub name: Name,
    /// The stream's name in the configuration.
    pub stream: Arc<str>,
    /// The plugin that folds.
    pub plugin: Arc<P>,
    /// The version before, which applies what this one breaks, if this one is on trial.
    pub on_trial: Option<OnTrial<Arc<P>>>,
    /// The store of the view.
    pub store: Arc<V>,
    /// The store of the events that cannot be applied.
    pub dead_letters: Arc<L>,
    /// How failures are retried before an event is set aside.
    pub retry: RetryPolicy,
    /// Whether the keys of an event that was set aside wait, or go on without it.
    pub on_failure: OnFailure,
    /// The most events of one batch.
    pub max_batch: usize,
}

/// Why a batch was not applied.
enum ViewError {
    /// The view may be at another position than this flow assumes: read the checkpoint again.
    Lost(CommitError),
    /// The store is unavailable.
    Away(Unavailable),
    /// The values up to an event were refused after the flow had continued.
    Refused { at: Sequence, why: String },
    /// The batch cannot be applied as a whole.
    Batch(PluginFault),
    /// An event must be set aside, and the checkpoint has no room for more parked keys: an operator has to retry or
    /// drop dead letters first.
    Full { at: Sequence, parked_keys: usize },
}

impl From<Unavailable> for ViewError {
    fn from(away: Unavailable) -> Self {
        Self::Away(away)
    }
}

impl From<PluginFault> for ViewError {
    fn from(fault: PluginFault) -> Self {
        Self::Batch(fault)
    }
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Keeps the view up to date until the feeds that `feed` makes are stopped.
    ///
    /// `versions` has the version of the plugin that runs, and then those that take its place. Each does so as another
    /// host would: it goes on after the checkpoint, whatever of the batch in hand was stored.
    pub async fn run_versions<F: EventFeed + 'static>(
        &mut self,
        feed: impl Fn() -> F,
        mut versions: watch::Receiver<Version<P>>,
    ) where
        P: Clone,
    {
        loop {
            let Version { plugin, on_trial } = versions.borrow_and_update().clone();
            self.plugin = Arc::new(plugin);
            self.on_trial =
                on_trial.map(|OnTrial { trial, before }| OnTrial { trial, before: Arc::new(before) });
            tokio::select! {
                () = self.run(feed()) => return,
                Ok(()) = versions.changed() => {}
            }
        }
    }

    /// Keeps the view up to date until the feed is stopped.
    pub async fn run<F: EventFeed + 'static>(&self, feed: F) {
        let stopped = feed.stopped().boxed().shared();
        let feed = Arc::new(Mutex::new(feed));
        let (mut failures, mut refused_at) = (0, Sequence::NONE);
        loop {
            let Err(error) = self.follow(&feed, &stopped, refused_at, &mut failures).await else { return };
            if let ViewError::Refused { at, .. } = &error {
                refused_at = *at;
            }
            tokio::select! {
                () = stopped.clone() => return,
                () = self.pause(error, &mut failures) => {}
            }
        }
    }

    /// Logs why the view does not move, and waits.
    async fn pause(&self, error: ViewError, failures: &mut u32) {
        let is_full = matches!(error, ViewError::Full { .. });
        let why = match error {
            ViewError::Lost(CommitError::Conflict) => return self.stand_by().await,
            ViewError::Lost(error) if *failures == 0 => {
                *failures = 1;
                tracing::info!(view = %self.name, "reading the checkpoint again: {error}");
                return;
            }
            ViewError::Lost(error) => error.to_string(),
            ViewError::Refused { at, why } => {
                tracing::info!(view = %self.name, "going step by step up to event {at}: {why}");
                return;
            }
            ViewError::Away(away) => away.to_string(),
            // `apply` finds an event that is at fault itself, so no single event explains this fault. Nothing is set
            // aside for it, so it is told in full here, once.
            ViewError::Batch(fault) if *failures == 0 => fault.to_string(),
            ViewError::Batch(fault) => fault.in_short(),
            ViewError::Full { at, parked_keys } => self.what_to_do_when_full(at, parked_keys),
        };
        *failures += 1;
        let delay = self.retry.delay(*failures);
        tracing::warn!(view = %self.name, ?delay, "will be tried again: {why}");
        match is_full {
            // An operator's request makes room.
            true => drop(tokio::time::timeout(delay, self.asked()).await),
            false => tokio::time::sleep(delay).await,
        }
    }

    fn what_to_do_when_full(&self, at: Sequence, parked_keys: usize) -> String {
        let name = &self.name;
        format!(
            "event {at} has to be set aside, but no more than {MAX_PARKED_BYTES} bytes of keys can be parked, and \
             {parked_keys} keys are: see `pelton dlq list --consumer {name}`, remove the cause, then \
             `pelton dlq retry --consumer {name}`, or give them up with \
             `pelton dlq drop --consumer {name} --reason …`; the view goes on by itself then"
        )
    }

    /// Continues from the checkpoint. When it ends, all that it started has ended.
    async fn follow<F: EventFeed + 'static>(
        &self,
        feed: &Arc<Mutex<F>>,
        stopped: &Stopped,
        refused_at: Sequence,
        failures: &mut u32,
    ) -> Result<(), ViewError> {
        let batch_size = BatchSize::new(self.max_batch);
        let mut pipeline =
            Pipeline::of(&self.name, &self.store, self.retry, stopped.clone(), batch_size, refused_at)
                .await?;
        let (plugin, feed, stream) = (self.plugin.clone(), feed.clone(), self.stream.clone());
        let reader = Reader { plugin, feed, stream, max_events: self.max_batch };
        let (ahead, mut batches) = mpsc::channel(MAX_AHEAD_BATCHES);
        let reading = tokio::spawn(reader.run(pipeline.checkpoint().position, ahead));
        let ended = self.go_on(&mut batches, &mut pipeline, failures).await;
        drop(batches);
        // The result is the error that ended the flow, or a consequence of it.
        let _ = pipeline.arrive().await;
        match reading.await {
            Ok(()) => ended,
            Err(broken) => {
                let doing = format!("reading ahead for the view {}", self.name);
                Err(Unavailable { doing, cause: broken.to_string() }.into())
            }
        }
    }

    async fn go_on(
        &self,
        ahead: &mut mpsc::Receiver<Result<Batch, Unavailable>>,
        pipeline: &mut Pipeline<V>,
        failures: &mut u32,
    ) -> Result<(), ViewError> {
        let mut requests = tokio::time::interval(REQUESTS_EVERY);
        requests.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = Vec::with_capacity(MAX_AHEAD_BATCHES);
        let began_at = pipeline.revision();
        loop {
            let is_under_way = pipeline.is_under_way();
            tokio::select! {
                biased;
                arrived = pipeline.arrive(), if is_under_way => {
                    arrived?;
                    continue;
                }
                _ = requests.tick() => {
                    pipeline.arrive().await?;
                    self.retry_if_asked(pipeline).await?;
                    continue;
                }
                count = ahead.recv_many(&mut read, MAX_AHEAD_BATCHES) => if count == 0 {
                    return pipeline.arrive().await;
                },
            }
            let (mut batch, mut ended) = (Batch::default(), Ok(()));
            for more in read.drain(..) {
                match more {
                    Ok(more) => batch.append(more),
                    Err(away) => ended = Err(away),
                }
            }
            self.take_in(&batch, pipeline).await?;
            ended?;
            // A commit that was only sent proves nothing yet.
            if pipeline.revision() != began_at {
                *failures = 0;
            }
        }
    }

    /// Waits until the host that won the race for the checkpoint has not moved it for a while.
    async fn stand_by(&self) {
        let mut seen = None;
        loop {
            tokio::time::sleep(STANDBY).await;
            match self.store.checkpoint().await {
                Ok(checkpoint) if seen == Some(checkpoint.revision) => return,
                Ok(checkpoint) => seen = Some(checkpoint.revision),
                Err(_) => return, // `follow` reports it
            }
        }
    }

    async fn take_in(&self, batch: &Batch, pipeline: &mut Pipeline<V>) -> Result<(), ViewError> {
        for (message, why) in &batch.unreadable {
            self.set_aside(message, None, DeadLetterKind::Failed, why).await?;
        }
        let mut rest = batch.all();
        while !rest.events.is_empty() {
            let count = rest.fitting(pipeline.batch_size.events(), &pipeline.checkpoint().parked);
            let (part, later) = rest.split_at(count.max(1));
            let reaches = match part.events.last() {
                Some(last) if !later.events.is_empty() => last.sequence,
                _ => batch.reaches,
            };
            if count > 1 {
                let keys = part.keys.iter().flatten().flatten();
                match self.fold(part.events, keys, reaches, pipeline).await {
                    // Smaller batches isolate the one event that fails.
                    Err(ViewError::Batch(_)) => {
                        pipeline.batch_size.halve(count);
                        continue;
                    }
                    other => other?,
                }
            } else {
                self.apply_one(part, reaches, pipeline).await?;
            }
            rest = later;
        }
        if pipeline.checkpoint().position < batch.reaches {
            let next = Checkpoint { position: batch.reaches, ..pipeline.checkpoint().clone() };
            self.commit(Changes::new(), next, pipeline).await?;
        }
        Ok(())
    }

    /// Sends new values together with the view's new position.
    async fn commit(
        &self,
        changes: Changes,
        next: Checkpoint,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        if pipeline.goes_step_by_step() {
            return self.commit_now(changes, next, pipeline).await;
        }
        pipeline.send(changes, next).await
    }

    /// Stores new values. A refusal is the plugin's fault.
    async fn commit_now(
        &self,
        changes: Changes,
        next: Checkpoint,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        pipeline.send(changes, next).await?;
        pipeline.arrive().await.map_err(|error| match error {
            ViewError::Refused { why, .. } => {
                ViewError::Batch(self.plugin.fault(format!("its values: {why}")))
            }
            other => other,
        })
    }
}
