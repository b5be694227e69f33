//! The named long-lived tasks of a host. Every spawned task is joined.

use std::collections::HashMap;
use std::future::Future;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};

/// A set of tasks that run until they are stopped.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// Waits until a task ends, and says which and how. Never returns without tasks.
    pub(crate) async fn first_end(&mut self) -> String {
        match self.running.join_next_with_id().await {
            Some(ended) => self.ended(&ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for all tasks until the deadline, then aborts the rest. Returns which were aborted or failed.
    pub(crate) async fn finish(mut self, deadline: Instant) -> Vec<String> {
        let mut bad = Vec::new();
        let mut late = false;
        let at = tokio::time::sleep_until(deadline.into());
        tokio::pin!(at);
        loop {
            tokio::select! {
                biased;
                ended = self.running.join_next_with_id() => match ended {
                    Some(Ok((id, ()))) => drop(self.names.remove(&id)),
                    Some(ended) => bad.push(self.ended(&ended)),
                    None => return bad,
                },
                () = &mut at, if !late => {
                    late = true;
                    self.running.abort_all();
                }
            }
        }
    }

    fn ended(&mut self, ended: &Result<(Id, ()), JoinError>) -> String {
        let (id, how) = match ended {
            Ok((id, ())) => (*id, "ended by itself"),
            Err(error) if error.is_panic() => (error.id(), "broke (the log has the panic)"),
            Err(error) => (error.id(), "was cut off at the deadline"),
        };
        let name = self.names.remove(&id).unwrap_or_else(|| "a task".to_owned());
        format!("{name} {how}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn what_does_not_finish_is_cut_off_and_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("the quick", async {});
        tasks.spawn("the slow", std::future::pending());
        tasks.spawn("the broken", async { panic!("on purpose") });
        let left = tasks.finish(soon()).await;
        assert_eq!(
            left,
            ["the broken broke (the log has the panic)", "the slow was cut off at the deadline"]
        );
    }

    #[tokio::test]
    async fn the_first_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("the slow", std::future::pending());
        tasks.spawn("the quick", async {});
        assert_eq!(tasks.first_end().await, "the quick ended by itself");
        assert_eq!(tasks.finish(soon()).await, ["the slow was cut off at the deadline"]);
    }
}
