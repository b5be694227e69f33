//! A saga's life: one input after the other, and what operators ask for in between.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::SagaFlow;
use super::ports::{SagaPlugin, SagaStore};
use crate::consumer::{Consumer, Delivery, with_progress};
use crate::dead_letter::Retries;

/// How often a saga looks whether an operator asks for something.
const REQUESTS_EVERY: Duration = Duration::from_secs(1);

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Handles what the consumer gives, in stream order, until it has been stopped. The server is told every
    /// `progress_every` that a message is still being worked on.
    pub async fn run<C: Consumer>(&self, mut consumer: C, progress_every: Duration) {
        let mut requests = tokio::time::interval(REQUESTS_EVERY);
        requests.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = requests.tick() => {
                    if let Err(away) = self.retry_if_asked().await {
                        tracing::warn!(saga = %self.name, "will be tried again: {away}");
                    }
                }
                delivery = consumer.next() => {
                    let Some(delivery) = delivery else { return };
                    let work = Box::pin(self.handle(delivery.message()));
                    let settlement = with_progress(&[&delivery], progress_every, work).await;
                    delivery.settle(settlement).await;
                }
            }
        }
    }
}
