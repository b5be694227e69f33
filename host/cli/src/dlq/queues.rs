//! The dead letters of one consumer and key, for who works on many such queues and tells of each in one line.

use std::time::Duration;

use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::Name;
use pelton_core::store::Unavailable;
use pelton_nats::Nats;
use pelton_nats::dead_letters::{Filter, KeptDeadLetter, Operator};

use super::causes::short;
use super::client::DlqClient;
use super::output::Output;
use super::resolve::{Done, Results, dropped, retry_queue};
use crate::config::Config;

/// Queues of one server.
pub(crate) struct Queues {
    client: DlqClient,
    operator: Operator,
}

/// What became of the dead letters of a queue.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// How many there were.
    pub(crate) dead_letters: usize,
    /// Why the first of those that are left is left. `None`: none is.
    pub(crate) left: Option<String>,
}

impl Results for Resolved {
    fn add(&mut self, kept: &KeptDeadLetter, done: &Done) {
        self.dead_letters += 1;
        if !done.settled && self.left.is_none() {
            let why = short(&done.detail, kept.dead_letter.digest.as_deref());
            self.left = Some(format!("dead letter {}: {why}", kept.sequence));
        }
    }
}

impl Queues {
    /// Queues that are worked on in this operator's name, who waits up to `wait` for each retry.
    pub(crate) fn new(config: Config, nats: Nats, by: &str, wait: Duration) -> Self {
        let client = DlqClient { config, nats, output: Output { json: false } };
        let operator = client.operator(by.to_owned(), wait);
        Self { client, operator }
    }

    /// How many dead letters a queue has: those that failed, or all.
    pub(crate) async fn count(&self, of: &Name, key: &str, failed: bool) -> Result<usize, Unavailable> {
        self.select(of, key, failed).await.map(|dead_letters| dead_letters.len())
    }

    /// Retries all of them, in order.
    pub(crate) async fn retry(&self, of: &Name, key: &str) -> Result<Resolved, Unavailable> {
        let end = self.operator.end().await?;
        let (dead_letters, mut resolved) = (self.select(of, key, false).await?, Resolved::default());
        retry_queue(&self.operator, dead_letters, end, &mut resolved).await?;
        Ok(resolved)
    }

    /// Drops those that failed.
    pub(crate) async fn drop_failed(
        &self,
        of: &Name,
        key: &str,
        reason: &str,
    ) -> Result<Resolved, Unavailable> {
        let mut resolved = Resolved::default();
        for dead_letter in self.select(of, key, true).await? {
            let done = dropped(&self.operator, &dead_letter, reason).await?;
            resolved.add(&dead_letter, &done);
        }
        Ok(resolved)
    }

    async fn select(&self, of: &Name, key: &str, failed: bool) -> Result<Vec<KeptDeadLetter>, Unavailable> {
        let filter = Filter {
            consumer: Some(of.to_string()),
            key: Some(key.to_owned()),
            kind: failed.then_some(DeadLetterKind::Failed),
            ..Filter::default()
        };
        Ok(self.client.find(&filter, usize::MAX).await?.0)
    }
}
