//! Reads ahead: while earlier events are folded, it reads the next ones and asks the plugin for their keys.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::batch::{Batch, Keys};
use super::fold;
use crate::consumer::{EventFeed, FeedItem};
use crate::id::Sequence;
use crate::projection::ports::ProjectionPlugin;
use crate::recorded;
use crate::store::Unavailable;

/// The number of batches that are read ahead.
pub(super) const MAX_AHEAD_BATCHES: usize = 8;
/// The most bytes of messages that wait to be folded. As many may be in the flow's hands, and one more read.
pub const MAX_AHEAD_BYTES: usize = 16 * 1024 * 1024;
/// The most events of one read.
const MAX_EVENTS: usize = 500;
/// A read ends after this many bytes; its last message may exceed them.
pub const MAX_READ_BYTES: usize = MAX_AHEAD_BYTES / MAX_AHEAD_BATCHES;

/// The task that reads ahead.
#[derive(Debug)]
pub(super) struct Reader<P, F> {
    pub(super) plugin: Arc<P>,
    pub(super) feed: Arc<Mutex<F>>,
    /// The stream's name in the configuration.
    pub(super) stream: Arc<str>,
    pub(super) max_events: usize,
}

impl<P: ProjectionPlugin, F: EventFeed> Reader<P, F> {
    /// Delivers the events after a position, until the feed is stopped or fails, or the receiver is dropped.
    pub(super) async fn run(self, after: Sequence, ahead: mpsc::Sender<Result<Batch, Unavailable>>) {
        let mut feed = self.feed.lock().await;
        if let Err(away) = feed.seek(after).await {
            drop(ahead.send(Err(away)).await);
            return;
        }
        loop {
            let items = tokio::select! {
                () = ahead.closed() => return,
                items = feed.next(self.max_events.min(MAX_EVENTS), MAX_READ_BYTES) => items,
            };
            let mut batch = match items {
                Ok(items) if items.is_empty() => return,
                Ok(items) => self.sorted(items),
                Err(away) => return drop(ahead.send(Err(away)).await),
            };
            // If the plugin fails at an event, the events before it are delivered first.
            loop {
                batch.keys = self.keys_of_first(&batch).await;
                let later = batch.split_off(batch.keys.len());
                if ahead.send(Ok(batch)).await.is_err() {
                    return;
                }
                match later {
                    Some(later) => batch = later,
                    None => break,
                }
            }
        }
    }

    fn sorted(&self, items: Vec<FeedItem>) -> Batch {
        let mut batch = Batch::default();
        for item in items {
            let event = recorded::of_item(&self.stream, &item);
            let message = item.message;
            batch.reaches = message.sequence;
            match event {
                Ok(event) if event.event.is_of(&self.plugin.descriptor().events) => {
                    batch.events.push(event);
                    batch.messages.push(message);
                }
                Ok(_) => {}
                Err(why) => batch.unreadable.push((message, format!("it is not an event: {why}"))),
            }
        }
        batch
    }

    /// The keys of as many of the first events as the plugin can determine at once. If it fails at the first event, the
    /// fault.
    async fn keys_of_first(&self, batch: &Batch) -> Vec<Keys> {
        let mut count = batch.events.len();
        loop {
            match fold::keys(&*self.plugin, &batch.events[..count]).await {
                Ok(keys) => return keys.into_iter().map(Ok).collect(),
                Err(fault) if count == 1 => return vec![Err(fault)],
                Err(_) => count /= 2,
            }
        }
    }
}
