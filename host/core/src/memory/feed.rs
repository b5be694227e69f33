use std::sync::Arc;

use tokio::sync::Notify;

use crate::consumer::{EventFeed, FeedItem};
use crate::id::Sequence;
use crate::store::Unavailable;

/// A stream's messages in memory. The feed stops after the last of them.
#[derive(Debug, Clone)]
pub struct MemoryFeed {
    items: Arc<[FeedItem]>,
    after: Sequence,
    stop: Arc<Notify>,
}

impl MemoryFeed {
    /// A feed of these messages, in the order of their sequences.
    #[must_use]
    pub fn new(items: impl Into<Arc<[FeedItem]>>) -> Self {
        Self { items: items.into(), after: Sequence::NONE, stop: Arc::default() }
    }

    /// The signal that stops the feed.
    #[must_use]
    pub fn stopper(&self) -> Arc<Notify> {
        self.stop.clone()
    }
}

impl EventFeed for MemoryFeed {
    async fn seek(&mut self, after: Sequence) -> Result<(), Unavailable> {
        self.after = after;
        Ok(())
    }

    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<FeedItem>, Unavailable> {
        let later = self.items.iter().filter(|item| item.message.sequence > self.after);
        let mut bytes = 0;
        let fits = |item: &&FeedItem| {
            let fits = bytes < max_bytes;
            bytes += item.bytes();
            fits
        };
        let items: Vec<_> = later.take(max).take_while(fits).cloned().collect();
        self.after = items.last().map_or(self.after, |last| last.message.sequence);
        Ok(items)
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stop = self.stop.clone();
        async move { stop.notified().await }
    }
}
