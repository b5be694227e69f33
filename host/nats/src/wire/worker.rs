//! A bounded queue of requests, and the task that answers them.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Answers requests until [`Worker::close`].
#[derive(Debug)]
pub(crate) struct Worker<T> {
    /// The purpose of the task, for messages about it.
    what: &'static str,
    waiting: Mutex<Option<mpsc::Sender<T>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send> Worker<T> {
    /// Starts the task. A caller waits for a place while `max_waiting` requests wait.
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

    /// Sends a request and waits for the answer. `None`: this host is stopping. The request is answered even if the
    /// caller stops waiting.
    pub(crate) async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> T) -> Option<A> {
        let queue = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = oneshot::channel();
        queue?.send(question(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Accepts nothing more and waits until all waiting callers have an answer.
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
