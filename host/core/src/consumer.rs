//! The sources of messages: a durable consumer, whose messages are settled one by one, and a feed, whose reader keeps
//! its own position.

use std::future::Future;
use std::time::Duration;

use crate::id::Sequence;
use crate::message::Incoming;
use crate::store::Unavailable;

/// A durable consumer. It holds each message until that message is settled.
pub trait Consumer: Send {
    /// A message that is held.
    type Delivery: Delivery;

    /// The next message; `None` once the consumer has been stopped. Waits while the server is away. Cancel safe: a
    /// message that was not returned is not lost.
    fn next(&mut self) -> impl Future<Output = Option<Self::Delivery>> + Send;
}

/// A message that is held until it is settled, or until the server redelivers it.
pub trait Delivery: Send + Sync + 'static {
    /// The message.
    fn message(&self) -> &Incoming;

    /// Tells the server that the message is still being processed.
    fn progress(&self) -> impl Future<Output = ()> + Send;

    /// Settles the message. If the settlement gets lost, the server redelivers the message.
    fn settle(&self, settlement: Settlement) -> impl Future<Output = ()> + Send;
}

/// Events of one stream, in order, from a position on.
pub trait EventFeed: Send {
    /// Continues with the first event after this position.
    fn seek(&mut self, after: Sequence) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// At least one and at most `max` events, in order, and no more once they have `max_bytes`; an empty list once the
    /// feed has been stopped. A message that is not an event is returned as an error in its place. Waits for the first
    /// event.
    fn next(
        &mut self,
        max: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<FeedItem>, Unavailable>> + Send;

    /// Completes once the feed has been stopped, for a caller that waits for something else meanwhile.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// One message of a feed.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// The message as the stream holds it.
    pub message: Incoming,
    /// Why the headers cannot be read. `message` has the ones that can.
    pub unreadable: Option<String>,
}

impl FeedItem {
    /// The size of the message in bytes: subject, headers and payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Incoming { subject, headers, payload, .. } = &self.message;
        let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        subject.len() + headers + payload.len()
    }
}

/// What the consumer is told about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The message is processed.
    Ack,
    /// Redeliver the message, but not before this time has passed.
    RetryAfter(Duration),
    /// Never redeliver the message: it was set aside, for this reason.
    Terminate(String),
}

/// Does the work, and reports its progress to the server meanwhile.
pub async fn with_progress<D: Delivery, T>(
    delivery: &D,
    every: Duration,
    mut work: impl Future<Output = T> + Unpin,
) -> T {
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(every) => delivery.progress().await,
        }
    }
}
