//! Handles the messages of one account in order, and those of different accounts concurrently.
//!
//! Every lane is a task that owns the accounts whose names hash to it, so no state is ever locked. There are several
//! times as many lanes as messages in flight, so two accounts seldom wait for each other. The server controls the
//! number of messages in flight (`max_ack_pending`).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::BuildHasher;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_nats::jetstream;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The number of lanes.
const LANES: usize = 1024;
/// The number of messages that are requested at once.
const BATCH: usize = 256;
/// The most messages that wait in one lane. The consumer delivers no more before some are acknowledged.
const MAX_WAITING: usize = 1024;

/// The source of messages.
pub(crate) type Consumer = jetstream::consumer::Consumer<pull::Config>;

/// The processing of a message.
pub(crate) trait Side: Send + Sync + 'static {
    /// A message that has been read.
    type Input: Send + 'static;
    /// The state of an account.
    type Account: Default + Send + 'static;

    /// Reads a message. Also returns the account's name.
    fn read(&self, message: Message) -> anyhow::Result<(String, Self::Input)>;

    /// Processes the message, and acknowledges it last.
    fn handle(
        &self,
        account: &mut Self::Account,
        input: Self::Input,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Works until an error.
pub(crate) async fn run<S: Side>(consumer: Consumer, side: S) -> anyhow::Result<Infallible> {
    let side = Arc::new(side);
    let mut working = JoinSet::new();
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (lane, waiting) = mpsc::channel(MAX_WAITING);
            working.spawn(work(side.clone(), waiting));
            lane
        })
        .collect();
    let hash = RandomState::new();
    let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    println!("ready");
    loop {
        tokio::select! {
            message = messages.next() => {
                let (account, input) = side.read(message.context("the consumer has ended")??)?;
                let lane = usize::try_from(hash.hash_one(&account) % LANES as u64)?;
                lanes[lane].send((account, input)).await.ok().context("a lane has ended")?;
            }
            Some(ended) = working.join_next() => {
                ended??;
                bail!("a lane has ended");
            }
        }
    }
}

async fn work<S: Side>(side: Arc<S>, mut waiting: mpsc::Receiver<(String, S::Input)>) -> anyhow::Result<()> {
    let mut accounts: HashMap<String, S::Account> = HashMap::new();
    while let Some((name, input)) = waiting.recv().await {
        side.handle(accounts.entry(name).or_default(), input).await?;
    }
    Ok(())
}
