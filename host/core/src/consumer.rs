//! Where messages come from: a durable consumer, whose messages are settled one by one, and a feed, whose reader keeps its
//! own position.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;

use crate::id::Sequence;
use crate::message::Incoming;
use crate::store::Unavailable;

/// Messages from a durable consumer. Each stays the consumer's until it is settled.
pub trait Consumer: Send {
    /// One message, held.
    type Delivery: Delivery;

    /// The next message; none when the inbox has been stopped. Waits while the server is away. Cancel safe: what is
    /// not returned is not lost.
    fn next(&mut self) -> impl Future<Output = Option<Self::Delivery>> + Send;
}

/// A message that is held until it is settled, or until the server gives it to somebody else.
pub trait Delivery: Send + 'static {
    /// The message.
    fn message(&self) -> &Incoming;

    /// Tells the server that it is still being worked on.
    fn progress(&self) -> impl Future<Output = ()> + Send;

    /// Lets go of it. A settlement that gets lost means a redelivery.
    fn settle(self, settlement: Settlement) -> impl Future<Output = ()> + Send;
}

/// Events of one stream, in order, from a position on.
pub trait EventFeed: Send {
    /// Goes on with the first event after this position.
    fn seek(&mut self, after: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// At least one and at most `max` events, and no more once they have `max_bytes`; or none when the feed has been
    /// stopped. Messages that are no events come as errors in their place. Waits for the first.
    fn next(
        &mut self,
        max: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<FeedItem>, Unavailable>> + Send;

    /// Completes once the feed has been stopped, for whoever waits for something else meanwhile.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// One message of a feed.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// The message as the stream holds it.
    pub message: Incoming,
    /// Why its headers cannot be read; the message has what could be read of them.
    pub unreadable: Option<String>,
}

impl FeedItem {
    /// What the message takes: subject, headers and payload, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Incoming { subject, headers, payload, .. } = &self.message;
        let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        subject.len() + headers + payload.len()
    }
}

/// What the consumer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done.
    Ack,
    /// Hand it out again, not before this has passed.
    RetryAfter(Duration),
    /// Never hand it out again; it has been set aside, for this reason.
    Terminate(String),
}

/// Does the work and tells the server meanwhile that it is being done.
pub async fn with_progress<D: Delivery, T>(
    deliveries: &[&D],
    every: Duration,
    mut work: impl Future<Output = T> + Unpin,
) -> T {
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(every) => {
                join_all(deliveries.iter().map(|delivery| delivery.progress())).await;
            }
        }
    }
}
