use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::consumer::{EventFeed, FeedItem};
use crate::id::{Name, Sequence};
use crate::message::{Headers, Incoming};
use crate::store::Unavailable;
use crate::time::Timestamp;

/// A stream in memory that grows while feeds read it. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    stream: Name,
    messages: Arc<Mutex<Vec<Incoming>>>,
    last: Arc<watch::Sender<u64>>,
}

impl MemoryLog {
    /// An empty stream.
    #[must_use]
    pub fn new(stream: Name) -> Self {
        Self { stream, messages: Arc::default(), last: Arc::new(watch::Sender::new(0)) }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Incoming>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    #[must_use]
    pub fn stream(&self) -> &Name {
        &self.stream
    }

    /// Stores a message. Answers its sequence.
    pub fn push(&self, subject: &str, headers: Headers, payload: Bytes, stored_at: Timestamp) -> Sequence {
        let mut messages = self.locked();
        let sequence = Sequence(*self.last.borrow() + 1);
        let (stream, subject) = (self.stream.clone(), subject.to_owned());
        messages.push(Incoming { stream, sequence, subject, headers, payload, stored_at, attempt: 1 });
        self.last.send_replace(sequence.0);
        sequence
    }

    /// The messages that it holds.
    #[must_use]
    pub fn messages(&self) -> Vec<Incoming> {
        self.locked().clone()
    }

    /// The sequence of the last message that was stored.
    #[must_use]
    pub fn last(&self) -> Sequence {
        Sequence(*self.last.borrow())
    }

    /// Deletes the messages up to this one.
    pub fn delete(&self, up_to: Sequence) {
        self.locked().retain(|message| message.sequence > up_to);
    }

    /// A feed from its first message on.
    #[must_use]
    pub fn feed(&self) -> MemoryLogFeed {
        MemoryLogFeed { log: self.clone(), after: Sequence::NONE, changes: self.last.subscribe() }
    }
}

/// Reads a [`MemoryLog`]. It is never stopped.
#[derive(Debug)]
pub struct MemoryLogFeed {
    log: MemoryLog,
    after: Sequence,
    changes: watch::Receiver<u64>,
}

impl EventFeed for MemoryLogFeed {
    async fn seek(&mut self, after: Sequence) -> Result<(), Unavailable> {
        self.after = after;
        Ok(())
    }

    async fn next(&mut self, max: usize, _: usize) -> Result<Vec<FeedItem>, Unavailable> {
        loop {
            self.changes.borrow_and_update();
            let items: Vec<_> = {
                let messages = self.log.locked();
                let later = messages.iter().filter(|message| message.sequence > self.after);
                later
                    .take(max)
                    .map(|message| FeedItem { message: message.clone(), unreadable: None })
                    .collect()
            };
            if let Some(last) = items.last() {
                self.after = last.message.sequence;
                return Ok(items);
            }
            if self.changes.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
}
