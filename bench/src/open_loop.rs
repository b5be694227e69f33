//! Open-loop load: commands are sent at fixed times, whether or not earlier ones have been answered.
//!
//! A command's latency counts from the time at which it was to be sent. So a stall counts for every command that falls
//! into it, and not only for those that were on their way.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::Client;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::ledger::{Kind, PATIENCE, Teller, accepted};

/// The interval at which commands that are due are sent.
const TICK: Duration = Duration::from_millis(1);

/// The answers to a load.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The latencies.
    pub(crate) latencies: Vec<Duration>,
    /// When the answers came, in order.
    at: Vec<Instant>,
}

impl Answers {
    /// The longest time without an answer that overlaps the time from `from` to `to`.
    pub(crate) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let gaps = self.at.windows(2).filter(|pair| pair[1] > from && pair[0] < to);
        gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Sends `per_s` commands a second until `end` is over, and waits for the answers. Also returns what `end` returns.
pub(crate) async fn run<T>(
    client: &Client,
    teller: &mut Teller,
    per_s: f64,
    end: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Answers)> {
    let inbox = client.new_inbox();
    let mut incoming = client.subscribe(format!("{inbox}.*")).await?;
    let mut answers = Answers { latencies: Vec::new(), at: Vec::new() };
    let (mut end, mut tick) = (pin!(end), interval(TICK));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let due = |number: usize| began + Duration::from_secs_f64(number as f64 / per_s);
    let mut sent = 0;
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended?,
            _ = tick.tick() => while due(sent) <= Instant::now() {
                teller.draw(Kind::One).send(client, format!("{inbox}.{sent}")).await?;
                sent += 1;
            },
            answer = incoming.next() => answers.take(answer, due)?,
        }
    };
    while answers.at.len() < sent {
        let Ok(answer) = timeout(PATIENCE, incoming.next()).await else {
            bail!("a command was not answered within {PATIENCE:?}");
        };
        answers.take(answer, due)?;
    }
    Ok((ended, answers))
}

impl Answers {
    fn take(
        &mut self,
        answer: Option<async_nats::Message>,
        due: impl Fn(usize) -> Instant,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let number = accepted(&answer.context("the subscription has ended")?)?;
        self.latencies.push(now.duration_since(due(number)));
        self.at.push(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_where_it_overlaps_the_time_asked_for() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let answers = Answers { latencies: Vec::new(), at: [0, 10, 40, 45].map(at).to_vec() };
        let gap = |from, to| answers.longest_gap(at(from), at(to)).as_millis();
        assert_eq!((gap(0, 45), gap(20, 30), gap(0, 10), gap(41, 44)), (30, 30, 10, 5));
        assert_eq!(gap(50, 60), 0, "nothing came");
    }
}
