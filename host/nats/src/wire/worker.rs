//! A bounded queue of questions, and the task that answers them.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Answers until [`Worker::close`].
#[derive(Debug)]
pub(crate) struct Worker<T> {
    /// What the task is for, in messages about it.
    what: &'static str,
    waiting: Mutex<Option<mpsc::Sender<T>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send> Worker<T> {
    /// Starts the task. Whoever comes when `max_waiting` questions wait, waits for a place.
    pub(crate) fn start<W>(
        what: &'static str,
        max_waiting: usize,
        work: impl FnOnce(mpsc::Receiver<T>) -> W,
    ) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (sender, waiting) = mpsc::channel(max_waiting);
        let task = tokio::spawn(work(waiting));
        Self { what, waiting: Mutex::new(Some(sender)), task: Mutex::new(Some(task)) }
    }

    /// Asks, and waits for the answer. None: this host is stopping. It is answered also where nobody waits any more.
    pub(crate) async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> T) -> Option<A> {
        let queue = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = oneshot::channel();
        queue?.send(question(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Takes nothing more and waits until everybody who waits has an answer.
    pub(crate) async fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("the task of {} ended badly: {error}", self.what);
        }
    }
}
