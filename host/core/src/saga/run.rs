//! The loop of a saga: it handles one input after the other, and operators' requests in between.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::SagaFlow;
use super::ports::{SagaPlugin, SagaStore};
use crate::consumer::{Consumer, Delivery, with_progress};
use crate::dead_letter::Retries;

/// The interval at which a saga looks for operators' requests.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Handles the consumer's messages in stream order, until the consumer has been stopped. Tells the server every
    /// `progress_every` that a message is still being processed.
    ///
    /// `versions` has the version of the plugin that runs, and then those that take its place, each between two inputs.
    pub async fn run<C: Consumer>(
        &mut self,
        mut consumer: C,
        progress_every: Duration,
        mut versions: watch::Receiver<P>,
    ) where
        P: Clone,
    {
        let mut requests = tokio::time::interval(REQUESTS_EVERY);
        requests.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Ok(()) = versions.changed() => self.plugin = versions.borrow_and_update().clone(),
                _ = requests.tick() => {
                    if let Err(away) = self.retry_if_asked().await {
                        tracing::warn!(saga = %self.name, "will be tried again: {away}");
                    }
                }
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else { return };
                    let work = Box::pin(self.handle(delivery.message()));
                    let settlement = with_progress(&delivery, progress_every, work).await;
                    delivery.settle(settlement).await;
                }
            }
        }
    }
}
