//! Gathers decisions of different entities that wait to be stored into one atomic batch.
//!
//! On one server with file storage a batch costs milliseconds whatever is in it, and one at a time per stream; with
//! `sync_interval: always` it costs one fsync. While one batch is under way, the decisions that arrive wait for the
//! next: the busier the stream, the larger the batch. Each decision keeps its own expectation. One that does not hold
//! has the server refuse the whole batch; its decisions are then stored one by one, so that none suffers for another.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use pelton_core::id::Sequence;
use pelton_core::ports::AppendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::append::{Decision, append_error, sequences};
use crate::batch::{MAX_BATCH_MESSAGES, publish_batch};
use crate::connection::Nats;
use crate::wire::PublishError;

/// How many decisions may wait; whoever comes then waits for a place.
const MAX_WAITING: usize = 1024;
/// The most bytes of one batch of several decisions. The server holds a batch in memory until it is complete, and the
/// client what the connection has not taken yet.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How many decisions of a refused batch are stored side by side. The server takes 50 open batches per stream.
const MAX_ONE_BY_ONE: usize = 16;

type Answer = Result<Vec<Sequence>, AppendError>;

struct Waiting {
    decision: Decision,
    answer: oneshot::Sender<Answer>,
}

/// The gatherer of one stream: a task that lives until [`Gatherer::close`].
#[derive(Debug)]
pub(crate) struct Gatherer {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Gatherer {
    pub(crate) fn start(nats: Nats) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(tokio::spawn(run(nats, waiting)))) }
    }

    /// Stores a decision together with others. It is stored also when the caller stops waiting.
    pub(crate) async fn store(&self, decision: Decision) -> Answer {
        let gone = || AppendError::Unclear("this host is stopping".to_owned());
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = oneshot::channel();
        queue.ok_or_else(gone)?.send(Waiting { decision, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Takes nothing more and waits until everything that waits is stored.
    pub(crate) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("the gatherer of appends ended badly: {error}");
        }
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

/// What goes into the next batch, in order of arrival. No two decisions of one entity: the server would let the second
/// pass on the expectation of the first. One that is larger than a batch may be goes alone.
fn portion(left: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut filters = HashSet::new();
    let (mut messages, mut bytes) = (0, 0);
    let mut taken = Vec::new();
    let mut kept = VecDeque::new();
    for waiting in left.drain(..) {
        let decision = &waiting.decision;
        let together = (messages + decision.messages.len(), bytes + decision.bytes());
        let fits = together.0 <= MAX_BATCH_MESSAGES && together.1 <= MAX_BATCH_BYTES;
        if (taken.is_empty() || fits) && filters.insert(decision.filter.clone()) {
            (messages, bytes) = together;
            taken.push(waiting);
        } else {
            kept.push_back(waiting);
        }
    }
    *left = kept;
    taken
}

async fn store(nats: &Nats, decisions: Vec<Waiting>) {
    if decisions.len() < 2 {
        return one_by_one(nats, decisions).await;
    }
    let counts: Vec<usize> = decisions.iter().map(|w| w.decision.messages.len()).collect();
    let messages = decisions.iter().flat_map(|w| w.decision.messages.iter().cloned()).collect();
    match publish_batch(nats, messages).await {
        Ok(ack) => {
            let mut all = sequences(ack.sequence, counts.iter().sum()).into_iter();
            for (waiting, count) in decisions.into_iter().zip(counts) {
                answer(waiting.answer, Ok(all.by_ref().take(count).collect()));
            }
        }
        Err(PublishError::Unclear(away)) => {
            for waiting in decisions {
                answer(waiting.answer, Err(append_error(PublishError::Unclear(away.clone()))));
            }
        }
        Err(refused) => {
            tracing::debug!(
                decisions = counts.len(),
                "a gathered batch was refused and is stored one by one: {refused}"
            );
            one_by_one(nats, decisions).await;
        }
    }
}

async fn one_by_one(nats: &Nats, decisions: Vec<Waiting>) {
    let each = decisions.into_iter().map(|waiting| async move {
        answer(waiting.answer, waiting.decision.store(nats).await);
    });
    futures::stream::iter(each).buffer_unordered(MAX_ONE_BY_ONE).collect::<()>().await;
}

/// Whoever stopped waiting reads the entity again, as after a crash.
fn answer(to: oneshot::Sender<Answer>, with: Answer) {
    drop(to.send(with));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(filter: &str, messages: usize, payload_bytes: usize) -> Waiting {
        let message = crate::batch::BatchMessage {
            subject: String::new(),
            headers: async_nats::HeaderMap::new(),
            payload: vec![0; payload_bytes].into(),
        };
        Waiting {
            decision: Decision { filter: filter.to_owned(), messages: vec![message; messages] },
            answer: oneshot::channel().0,
        }
    }

    fn filters(list: &[Waiting]) -> Vec<&str> {
        list.iter().map(|waiting| waiting.decision.filter.as_str()).collect()
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
    fn a_batch_has_one_decision_per_entity_and_no_more_than_fits() {
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
