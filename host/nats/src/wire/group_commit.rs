//! Group commit: stores conditional writes together in one atomic batch, where that is faster than one by one.
//!
//! A write of several messages is a batch in any case, and goes with others. A write of one message goes by itself or with
//! others, as [`Pace`] has measured.
//!
//! On one server with file storage a batch costs milliseconds whatever its content, and a stream takes one at a time.
//! With `sync_interval: always` it costs one fsync, and on replicas one round of agreement. While one batch is pending,
//! arriving writes wait for the next: the busier the stream, the larger the batch. Each write keeps its own
//! expectation. If one does not hold, the server refuses the whole batch. Its writes are then stored one by one, so
//! that none fails because of another.

use std::collections::{HashSet, VecDeque};

use futures::StreamExt;
use pelton_core::store::Unavailable;
use tokio::sync::{mpsc, oneshot};

use super::batch::{MAX_BATCH_MESSAGES, publish_batch};
use super::conditional::{ConditionalWrite, Stored};
use super::pace::{Pace, Way};
use super::request::PublishError;
use super::worker::Worker;
use crate::connection::Nats;

/// The most waiting writes.
const MAX_WAITING: usize = 1024;
/// The most bytes of one batch of several writes. The server holds a batch in memory until it is complete, and the
/// client holds what the connection has not accepted yet.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The number of writes of a refused batch that are stored concurrently. The server accepts 50 open batches per stream.
const MAX_ONE_BY_ONE: usize = 16;

type Answer = Result<Stored, PublishError>;

#[derive(Debug)]
struct Waiting {
    write: ConditionalWrite,
    answer: oneshot::Sender<Answer>,
}

/// The group commit of one stream.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    nats: Nats,
    gathered: Gathered,
    pace: Pace,
    worker: Worker<Waiting>,
}

impl GroupCommit {
    pub(crate) fn start(nats: Nats, gathered: Gathered) -> Self {
        let worker = Worker::start("the group commit", MAX_WAITING, |waiting| run(nats.clone(), waiting));
        Self { nats, gathered, pace: Pace::default(), worker }
    }

    /// Stores a write, by itself or together with others.
    pub(crate) async fn store(&self, write: ConditionalWrite) -> Answer {
        let under_way =
            UnderWay::begin(&self.pace, self.gathered == Gathered::AsMeasured && write.messages.len() == 1);
        let stored = match under_way.way {
            Way::Alone => write.store(&self.nats).await,
            Way::WithOthers => self.with_others(write).await,
        };
        under_way.end(stored.is_ok());
        stored
    }

    /// The write is stored even if the caller stops waiting.
    async fn with_others(&self, write: ConditionalWrite) -> Answer {
        self.worker.ask(|answer| Waiting { write, answer }).await.unwrap_or_else(|| {
            let (doing, cause) = ("storing".to_owned(), "this host is stopping".to_owned());
            Err(PublishError::Unclear(Unavailable { doing, cause }))
        })
    }

    /// Accepts nothing more and waits until all waiting writes are stored.
    pub(crate) async fn close(&self) {
        self.worker.close().await;
    }
}

/// Which writes of a single message go together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gathered {
    /// Those that are stored sooner so, as far as was measured.
    #[default]
    AsMeasured,
    /// All of them.
    Always,
}

/// A write that has begun. Dropped, it has ended too: its caller may stop waiting.
struct UnderWay<'a> {
    pace: &'a Pace,
    way: Way,
    is_stored: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(pace: &'a Pace, can_go_alone: bool) -> Self {
        Self { pace, way: pace.begin(can_go_alone), is_stored: false }
    }

    fn end(mut self, is_stored: bool) {
        self.is_stored = is_stored;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.pace.end(self.way, self.is_stored);
    }
}

async fn run(nats: Nats, mut queue: mpsc::Receiver<Waiting>) {
    let mut left = VecDeque::new();
    loop {
        if left.is_empty() {
            match queue.recv().await {
                Some(first) => left.push_back(first),
                None => return,
            }
        }
        while left.len() < MAX_WAITING
            && let Ok(more) = queue.try_recv()
        {
            left.push_back(more);
        }
        store(&nats, portion(&mut left)).await;
    }
}

/// The writes of the next batch, in order of arrival. Each filter occurs once, because the server would accept a second
/// write on the expectation of the first. A write that is larger than a batch goes alone.
fn portion(left: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut filters = HashSet::new();
    let (mut messages, mut bytes) = (0, 0);
    let mut taken = Vec::new();
    let mut kept = VecDeque::new();
    for waiting in left.drain(..) {
        let write = &waiting.write;
        let together = (messages + write.messages.len(), bytes + write.bytes());
        let fits = together.0 <= MAX_BATCH_MESSAGES && together.1 <= MAX_BATCH_BYTES;
        if (taken.is_empty() || fits) && filters.insert(write.filter.clone()) {
            (messages, bytes) = together;
            taken.push(waiting);
        } else {
            kept.push_back(waiting);
        }
    }
    *left = kept;
    taken
}

async fn store(nats: &Nats, writes: Vec<Waiting>) {
    if writes.len() < 2 {
        return one_by_one(nats, writes).await;
    }
    let counts: Vec<usize> = writes.iter().map(|waiting| waiting.write.messages.len()).collect();
    let messages = writes.iter().flat_map(|waiting| waiting.write.messages.iter().cloned()).collect();
    match publish_batch(nats, messages).await {
        Ok(ack) => {
            let mut all = Stored::side_by_side(ack.sequence, counts.iter().sum()).sequences.into_iter();
            for (waiting, count) in writes.into_iter().zip(counts) {
                let sequences = all.by_ref().take(count).collect();
                answer(waiting.answer, Ok(Stored { sequences }));
            }
        }
        Err(PublishError::Unclear(away) | PublishError::NobodyTakes(away)) => {
            for waiting in writes {
                answer(waiting.answer, Err(PublishError::Unclear(away.clone())));
            }
        }
        Err(refused) => {
            tracing::debug!(
                writes = counts.len(),
                "a group commit was refused and is stored one by one: {refused}"
            );
            one_by_one(nats, writes).await;
        }
    }
}

async fn one_by_one(nats: &Nats, writes: Vec<Waiting>) {
    let each = writes.into_iter().map(|waiting| async move {
        answer(waiting.answer, waiting.write.store(nats).await);
    });
    futures::stream::iter(each).buffer_unordered(MAX_ONE_BY_ONE).collect::<()>().await;
}

/// A caller that stopped waiting reads the result later, as after a crash.
fn answer(to: oneshot::Sender<Answer>, with: Answer) {
    drop(to.send(with));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(filter: &str, messages: usize, payload_bytes: usize) -> Waiting {
        let message = super::super::batch::BatchMessage {
            subject: String::new(),
            headers: async_nats::HeaderMap::new(),
            payload: vec![0; payload_bytes].into(),
        };
        Waiting {
            write: ConditionalWrite { filter: filter.to_owned(), messages: vec![message; messages] },
            answer: oneshot::channel().0,
        }
    }

    fn filters(list: &[Waiting]) -> Vec<&str> {
        list.iter().map(|waiting| waiting.write.filter.as_str()).collect()
    }

    #[test]
    fn a_batch_has_a_bound_in_bytes_and_what_is_larger_goes_alone() {
        let mib = 1024 * 1024;
        let mut left: VecDeque<_> =
            [("a.>", 5, mib), ("b.>", 3, mib), ("c.>", 2, mib), ("d.>", 9, mib), ("e.>", 1, 1)]
                .map(|(filter, messages, bytes)| waiting(filter, messages, bytes))
                .into();
        for expected in [&["a.>", "c.>", "e.>"][..], &["b.>"], &["d.>"]] {
            assert_eq!(filters(&portion(&mut left)), expected);
        }
        assert!(left.is_empty());
    }

    #[test]
    fn a_batch_has_one_write_per_filter_and_no_more_than_fits() {
        let mut left: VecDeque<_> = [("a.>", 600), ("a.>", 1), ("b.>", 500), ("c.>", 400), ("d.>", 1)]
            .map(|(f, n)| waiting(f, n, 0))
            .into();
        let first = portion(&mut left);
        assert_eq!(filters(&first), ["a.>", "c.>"]);
        let second = portion(&mut left);
        assert_eq!(filters(&second), ["a.>", "b.>", "d.>"]);
        assert!(left.is_empty());
    }
}
