//! Reading ahead: events are read, sorted out and asked for their keys while those before them are folded.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::batch::{Batch, Keys};
use super::fold;
use crate::consumer::{EventFeed, FeedItem};
use crate::id::Sequence;
use crate::projection::ports::ProjectionPlugin;
use crate::recorded;
use crate::store::Unavailable;

/// How many batches are read ahead.
pub(super) const MAX_AHEAD_BATCHES: usize = 8;
/// How many bytes of messages wait to be folded at most; as many may be in hand, and one read more.
pub const MAX_AHEAD_BYTES: usize = 16 * 1024 * 1024;
/// The most events that are read at a time.
const MAX_EVENTS: usize = 500;
/// After so many bytes a read ends; the last message may go beyond.
pub const MAX_READ_BYTES: usize = MAX_AHEAD_BYTES / MAX_AHEAD_BATCHES;

/// What reads ahead.
#[derive(Debug)]
pub(super) struct Reader<P, F> {
    pub(super) plugin: Arc<P>,
    pub(super) feed: Arc<Mutex<F>>,
    /// The stream's name in the configuration.
    pub(super) stream: Arc<str>,
    pub(super) max_events: usize,
}

impl<P: ProjectionPlugin, F: EventFeed> Reader<P, F> {
    /// Hands over what comes after a position, until the feed is stopped, fails, or nobody takes it any more.
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
            // Where the plugin fails at an event, those before it go ahead.
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
                Err(why) => batch.unreadable.push((message, format!("it is no event: {why}"))),
            }
        }
        batch
    }

    /// The keys of as many of the first events as the plugin can tell at once; where it fails at the first, why.
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
