//! Views: the number of events a second.
//!
//! The events are stored in their stream while the process is stopped (SIGSTOP). The clock runs from the moment when
//! the process continues until the last write to the view's bucket is stored, by the server's own time stamp.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::{self, kv::Store};
use fastrand::Rng;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::ledger::{self, lay_ready};
use crate::process::Process;
use crate::servers::{ACCOUNTS, Servers, Setup};
use crate::side::{Side, Work};

/// The longest time for a view.
const PATIENCE: Duration = Duration::from_secs(120);
/// The wait between two checks for its end.
const LOOK: Duration = Duration::from_millis(10);
/// The number of accounts that have deposits at a time. An account has a hundred deposits before the next one takes its
/// turn, as with things that people work on.
const ACTIVE: usize = 100;

/// How the events are spread over keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Every event has a key of its own.
    One,
    /// A hundred events have the same key.
    Hundred,
}

/// How fast a side was with events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Events a second.
    pub(crate) per_s: f64,
    /// The processor time of an event, in microseconds: the side's own, and its server's.
    pub(crate) side_us: f64,
    pub(crate) server_us: f64,
}

/// Measures one side that keeps a view on a fresh server.
pub(crate) async fn measure(side: Side, keys: Keys, events: usize, seed: u64) -> anyhow::Result<Kept> {
    let servers = Servers::start(Setup::File).await?;
    let process = side.start(Work::View, &servers).await?;
    let client = servers.connect().await?;
    process.hold().await?;
    let accounts = accounts(keys, events, seed);
    lay_ready(&client, accounts.iter().map(|(account, nth)| ledger::event(*account, *nth, &[]))).await?;
    let jetstream = jetstream::new(client);
    let bucket = jetstream.get_key_value(format!("{ACCOUNTS}-v1")).await?;
    let done = async |process: &mut Process| finished(side, &bucket, events as u64, process).await;
    let kept = clocked(&servers, process, events, done).await?;
    let (account, nth) = accounts.last().context("there are no events")?;
    let key = ledger::account(*account);
    let row = bucket.get(if side == Side::Pelton { format!("r.{key}") } else { key.clone() }).await?;
    let row: Value = serde_json::from_slice(&row.with_context(|| format!("the view has no {key}"))?)?;
    ensure!(row["deposits"] == nth + 1, "the view of {key} is {row}");
    Ok(kept)
}

/// Has a side that is held work off these events. `finished` returns when it was done, by the server's time.
pub(crate) async fn clocked(
    servers: &Servers,
    mut process: Process,
    events: usize,
    finished: impl AsyncFnOnce(&mut Process) -> anyhow::Result<SystemTime>,
) -> anyhow::Result<Kept> {
    let before = (process.cpu()?, servers.cpu()?);
    let began = SystemTime::now();
    process.let_go()?;
    let ended = finished(&mut process).await?;
    let (side_took, server_took) = (process.cpu()? - before.0, servers.cpu()? - before.1);
    process.end().await?;
    let events = events as f64;
    Ok(Kept {
        per_s: events / ended.duration_since(began)?.as_secs_f64(),
        side_us: side_took.as_secs_f64() * 1e6 / events,
        server_us: server_took.as_secs_f64() * 1e6 / events,
    })
}

/// The account of every event, and the number of the account's earlier events.
fn accounts(keys: Keys, events: usize, seed: u64) -> Vec<(usize, usize)> {
    match keys {
        Keys::One => (0..events).map(|account| (account, 0)).collect(),
        Keys::Hundred => {
            let mut random = Rng::with_seed(seed);
            let mut turns: Vec<usize> = Vec::with_capacity(events);
            for first in (0..events / 100).step_by(ACTIVE) {
                let active = first..(first + ACTIVE).min(events / 100);
                let mut wave: Vec<usize> = active.flat_map(|account| [account; 100]).collect();
                random.shuffle(&mut wave);
                turns.append(&mut wave);
            }
            let mut counts = vec![0; turns.len().div_ceil(100)];
            let numbered = turns.into_iter().map(|account| {
                counts[account] += 1;
                (account, counts[account] - 1)
            });
            numbered.collect()
        }
    }
}

/// Waits until every event is in the view. Returns when the last write was stored.
async fn finished(
    side: Side,
    bucket: &Store,
    events: u64,
    process: &mut Process,
) -> anyhow::Result<SystemTime> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = bucket.stream.clone();
    loop {
        let state = stream.info().await?.state.clone();
        let done = match side {
            Side::Pelton => position(bucket).await? >= events,
            Side::Bare | Side::Same => state.last_sequence >= events,
        };
        if done {
            return Ok(SystemTime::from(stream.info().await?.state.last_timestamp));
        }
        process.check()?;
        if Instant::now() > deadline {
            bail!("the view is not complete after {PATIENCE:?}:\n{}", process.last_lines());
        }
        sleep(LOOK).await;
    }
}

/// The position of Pelton's view.
async fn position(bucket: &Store) -> anyhow::Result<u64> {
    let Some(checkpoint) = bucket.get("checkpoint").await? else { return Ok(0) };
    let checkpoint: Value = serde_json::from_slice(&checkpoint)?;
    checkpoint["position"].as_u64().with_context(|| format!("the checkpoint is {checkpoint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_events_in_order() {
        let spread = accounts(Keys::Hundred, 20_000, 1);
        assert_eq!(spread.len(), 20_000);
        let of_one: Vec<_> = spread.iter().filter(|(account, _)| *account == 150).collect();
        assert!(of_one.iter().map(|(_, nth)| *nth).eq(0..100));
        assert!(
            spread[..10_000].iter().all(|(account, _)| *account < 100),
            "one hundred are active at a time"
        );
        assert!(accounts(Keys::One, 3, 1).iter().eq(&[(0, 0), (1, 0), (2, 0)]));
    }
}
