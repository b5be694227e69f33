use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::consumer::{Consumer, Delivery, Settlement};
use crate::id::{Name, Sequence};
use crate::message::{Headers, Incoming};
use crate::time::Timestamp;

/// A log of commands with one durable consumer. Clones share it. Each [`MemoryConsumer`] is one host that pulls from it.
///
/// The log holds one message a subject. A second publish to a subject delivers the first message again, as a recreated
/// consumer does.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    stream: Name,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    ack_wait: Duration,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    log: HashMap<String, Incoming>,
    ready: VecDeque<Incoming>,
    /// The messages that were delivered and not settled, and when each is redelivered.
    held: Vec<(Instant, Incoming)>,
    settled: Vec<(Sequence, Settlement)>,
}

impl MemoryQueue {
    /// An empty stream. A message that is not settled within `ack_wait` is redelivered.
    #[must_use]
    pub fn new(stream: Name, ack_wait: Duration) -> Self {
        Self {
            stream,
            shared: Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), ack_wait }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a message, or hands the one out again that its subject has.
    pub fn publish(&self, subject: impl Into<String>, headers: Headers, payload: bytes::Bytes) {
        let subject = subject.into();
        let mut state = self.state();
        let message = match state.log.get(&subject) {
            Some(first) => first.clone(),
            None => {
                state.next += 1;
                let sequence = Sequence(state.next);
                let (stream, stored_at) = (self.stream.clone(), Timestamp(sequence.0));
                let new = Incoming { stream, sequence, subject, headers, payload, stored_at, attempt: 0 };
                state.log.insert(new.subject.clone(), new.clone());
                new
            }
        };
        state.ready.push_back(message);
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Deletes all messages, as the log does after its time. Messages that were delivered, or will be, are not affected.
    pub fn let_go(&self) {
        self.state().log.clear();
    }

    /// The sequence of the last message that was stored.
    #[must_use]
    pub fn last(&self) -> Sequence {
        Sequence(self.state().next)
    }

    /// The number of messages that are neither acknowledged nor terminated.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        let state = self.state();
        state.ready.len() + state.held.len()
    }

    /// The settlements so far, in order.
    #[must_use]
    pub fn settlements(&self) -> Vec<(Sequence, Settlement)> {
        self.state().settled.clone()
    }

    /// One host's end of the consumer.
    #[must_use]
    pub fn consumer(&self) -> MemoryConsumer {
        MemoryConsumer { queue: self.clone(), stopped: Arc::default() }
    }

    fn pull(&self) -> Result<Incoming, Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        let (due, held): (Vec<_>, Vec<_>) = state.held.drain(..).partition(|(at, _)| *at <= now);
        state.held = held;
        for (_, message) in due.into_iter().rev() {
            state.ready.push_front(message);
        }
        let Some(mut message) = state.ready.pop_front() else {
            return Err(state.held.iter().map(|(at, _)| *at).min());
        };
        message.attempt += 1;
        state.held.push((now + self.shared.ack_wait, message.clone()));
        Ok(message)
    }
}

/// One host's end of a [`MemoryQueue`].
#[derive(Debug)]
pub struct MemoryConsumer {
    queue: MemoryQueue,
    stopped: Arc<std::sync::atomic::AtomicBool>,
}

impl MemoryConsumer {
    /// A function that stops the consumer: it delivers nothing any more.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + use<> {
        let (stopped, queue) = (self.stopped.clone(), self.queue.clone());
        move || {
            stopped.store(true, std::sync::atomic::Ordering::Relaxed);
            queue.shared.changed.notify_waiters();
        }
    }
}

impl Consumer for MemoryConsumer {
    type Delivery = MemoryDelivery;

    async fn next(&mut self) -> Option<MemoryDelivery> {
        loop {
            let changed = self.queue.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.stopped.load(std::sync::atomic::Ordering::Relaxed) {
                return None;
            }
            match self.queue.pull() {
                Ok(message) => return Some(MemoryDelivery { queue: self.queue.clone(), message }),
                Err(None) => changed.await,
                Err(Some(at)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }
}

/// A message from a [`MemoryQueue`].
#[derive(Debug)]
pub struct MemoryDelivery {
    queue: MemoryQueue,
    message: Incoming,
}

impl Delivery for MemoryDelivery {
    fn message(&self) -> &Incoming {
        &self.message
    }

    async fn progress(&self) {
        let until = Instant::now() + self.queue.shared.ack_wait;
        let mut state = self.queue.state();
        if let Some(held) = state.held.iter_mut().find(|(_, m)| m.sequence == self.message.sequence) {
            held.0 = until;
        }
    }

    async fn settle(&self, settlement: Settlement) {
        let mut state = self.queue.state();
        state.settled.push((self.message.sequence, settlement.clone()));
        match settlement {
            Settlement::Ack | Settlement::Terminate(_) => {
                // As on the server, an acknowledgement also counts if another host holds the message by now.
                state.held.retain(|(_, m)| m.sequence != self.message.sequence);
                state.ready.retain(|m| m.sequence != self.message.sequence);
            }
            Settlement::RetryAfter(delay) => {
                let at = Instant::now() + delay;
                if let Some(held) = state.held.iter_mut().find(|(_, m)| m.sequence == self.message.sequence) {
                    held.0 = at;
                }
            }
        }
        drop(state);
        self.queue.shared.changed.notify_waiters();
    }
}
