//! The commands of a handler, from all of its partitions.

use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll};
use pelton_core::consumer::Consumer;
use pelton_core::id::Name;
use pelton_core::partition::Partitions;
use pelton_core::store::Unavailable;
use tokio_util::sync::CancellationToken;

use super::delivery::PullDelivery;
use super::members::{Assignment, Members};
use super::pull::PullConsumer;
use crate::connection::Nats;

/// A [`Consumer`] over the consumers of a handler's partitions, which [`crate::Topology`] has created. It delivers those of the
/// partitions that this host should have.
pub struct HandlerCommands {
    partitions: SelectAll<BoxStream<'static, PullDelivery>>,
    assignments: Vec<Assignment>,
    stop: CancellationToken,
}

impl HandlerCommands {
    /// `commands`: how many command types the handler takes. `prefetch` bounds the messages that are fetched and not yet
    /// delivered.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub async fn open(
        nats: &Nats,
        handler: &Name,
        (partitions, commands): (Partitions, usize),
        members: &Members,
        prefetch: usize,
    ) -> Result<Self, Unavailable> {
        let stop = CancellationToken::new();
        let (mut streams, mut assignments) = (SelectAll::new(), Vec::new());
        let of_each = prefetch.div_ceil(partitions.count());
        for partition in partitions.all() {
            let consumer = PullConsumer::of_partition(nats, handler, partition, of_each).await?;
            let assignment = members.assignment(handler, consumer.name(), commands);
            assignments.push(assignment.clone());
            let consumer = consumer.shared_out(assignment).stopped_by(stop.clone());
            let messages = stream::unfold(consumer, async |mut consumer| {
                let delivery = consumer.next().await?;
                Some((delivery, consumer))
            });
            streams.push(messages.boxed());
        }
        Ok(Self { partitions: streams, assignments, stop })
    }

    /// Cancelling it stops the consumer: it fetches nothing more and still delivers what it has fetched.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// For every partition, whether this host should have it.
    #[must_use]
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }
}

impl Consumer for HandlerCommands {
    type Delivery = PullDelivery;

    async fn next(&mut self) -> Option<PullDelivery> {
        self.partitions.next().await
    }
}
