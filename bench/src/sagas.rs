//! Sagas: the number of events a second, what events cost that a saga does not read, its start, and its timers.
//!
//! The saga gives a bonus for every deposit, with a command, which is not decided: what it has done is in the log of commands,
//! with the server's time. A bonus with a time is sent by a timer.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use fastrand::Rng;
use futures::{StreamExt, TryStreamExt, stream as futures_stream};
use pelton_core::id::{InputKey, InstanceId, Name, Position, Sequence};
use pelton_core::intake::Intake;
use pelton_core::saga::instance::{ArmedTimer, Instance};
use pelton_core::saga::ports::{SagaStore, TimerWrite};
use pelton_core::time::Timestamp;
use pelton_nats::sagas::SagaTimes;
use pelton_nats::subjects::{COMMANDS, saga_stream};
use pelton_nats::{Commands, SagaStreams};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::ledger::{self, lay_ready};
use crate::process::Process;
use crate::projections::{Kept, clocked};
use crate::servers::{BONUS, LEDGER, Servers, Setup};
use crate::side::{Side, Work};

/// The number of instances that react side by side.
const INSTANCES: usize = 256;
/// The longest time for all commands.
const PATIENCE: Duration = Duration::from_secs(240);
/// The wait between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// The number of timers that are armed at once.
const ARMING: usize = 1_024;
/// A time after every run.
const FAR: Timestamp = Timestamp(4_000_000_000_000_000_000);

/// A server on which no commands are decided.
async fn fresh() -> anyhow::Result<Servers> {
    let servers = Servers::start(Setup::File).await?;
    servers.hold_commands().await?;
    Ok(servers)
}

/// Measures one side that sends a command for every event, on a fresh server.
pub(crate) async fn reactions(side: Side, events: usize, seed: u64) -> anyhow::Result<Kept> {
    let servers = fresh().await?;
    let process = side.start(Work::Saga, &servers).await?;
    process.hold().await?;
    let mut turns: Vec<usize> = (0..events).map(|event| event % INSTANCES).collect();
    Rng::with_seed(seed).shuffle(&mut turns);
    let mut counts = [0; INSTANCES];
    let deposits = turns.into_iter().map(|account| {
        counts[account] += 1;
        ledger::event(account, counts[account] - 1, &[])
    });
    lay_ready(&servers.connect().await?, deposits).await?;
    let log = Log::open(&servers).await?;
    clocked(&servers, process, events, async |process| log.has(events, process).await).await
}

/// The processor time of a host for every event of a type that its saga does not read.
pub(crate) async fn unlisted(events: usize) -> anyhow::Result<Duration> {
    let servers = fresh().await?;
    let client = servers.connect().await?;
    let mut process = Side::Pelton.start(Work::Saga, &servers).await?;
    let log = Log::open(&servers).await?;
    lay_ready(&client, [ledger::event(0, 0, &[])]).await?;
    log.has(1, &mut process).await?;
    let (before, began) = (process.cpu()?, Instant::now());
    lay_ready(&client, (0..events).map(ledger::audited)).await?;
    let (took, busy) = (began.elapsed(), process.cpu()? - before);
    // What the host does by itself in the same time is no cost of the events.
    let before = process.cpu()?;
    sleep(took).await;
    let idle = process.cpu()? - before;
    process.end().await?;
    Ok(busy.saturating_sub(idle) / u32::try_from(events)?)
}

/// The time from the start of a host until its saga has reacted, to the last event of a stream full of others.
pub(crate) async fn start(others: usize) -> anyhow::Result<Duration> {
    let servers = fresh().await?;
    let client = servers.connect().await?;
    lay_ready(&client, (0..others).map(ledger::audited)).await?;
    lay_ready(&client, [ledger::event(0, 0, &[])]).await?;
    let log = Log::open(&servers).await?;
    let began = Instant::now();
    let mut process = Side::Pelton.start(Work::Saga, &servers).await?;
    log.has(1, &mut process).await?;
    let took = began.elapsed();
    process.end().await?;
    Ok(took)
}

/// Timers that come due evenly within a time: how late each command follows, and when the last did, after the first was due.
pub(crate) async fn timers(
    count: usize,
    armed_within: Duration,
    due_within: Duration,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let servers = fresh().await?;
    let mut process = Side::Pelton.start(Work::Saga, &servers).await?;
    let first = Timestamp::now().0 + u64::try_from(armed_within.as_nanos())?;
    let between = u64::try_from(due_within.as_nanos())? / count as u64;
    let due = |account: usize| Timestamp(first + between * account as u64);
    let deposits = (0..count).map(|account| ledger::with_bonus_at(account, due(account)));
    lay_ready(&servers.connect().await?, deposits).await?;
    // For each an instance and its timer.
    let own = Log::of(&servers, &saga_stream(&Name::new(BONUS)?)).await?;
    own.has(2 * count, &mut process).await?;
    ensure!(Timestamp::now().0 < first, "{count} timers were not armed within {armed_within:?}");
    let log = Log::open(&servers).await?;
    log.has(count, &mut process).await?;
    let sent = log.sent(count).await?;
    process.end().await?;
    let last = sent.iter().map(|(_, at)| at.0).max().unwrap_or_default();
    let late = sent.into_iter().map(|(account, at)| {
        let early_by = due(account).0.saturating_sub(at.0);
        ensure!(early_by == 0, "the timer of account {account} was {early_by} ns early");
        Ok(Duration::from_nanos(at.0 - due(account).0))
    });
    Ok((late.collect::<anyhow::Result<_>>()?, Duration::from_nanos(last - first)))
}

/// The time from the restart of a server that holds so many timers until a saga reacts again.
pub(crate) async fn restart(timers: usize) -> anyhow::Result<Duration> {
    let mut servers = fresh().await?;
    let mut process = Side::Pelton.start(Work::Saga, &servers).await?;
    let log = Log::open(&servers).await?;
    lay_ready(&servers.connect().await?, [ledger::event(0, 0, &[])]).await?;
    log.has(1, &mut process).await?;
    arm(&servers, timers).await?;
    let began = Instant::now();
    servers.restart().await?;
    lay_ready(&servers.connect().await?, [ledger::event(1, 0, &[])]).await?;
    Log::open(&servers).await?.has(2, &mut process).await?;
    let took = began.elapsed();
    process.end().await?;
    Ok(took)
}

/// Arms timers that do not go off, as a host does.
async fn arm(servers: &Servers, timers: usize) -> anyhow::Result<()> {
    let nats = servers.nats().await?;
    let (saga, events) = (Name::new(BONUS)?, Name::new(LEDGER)?);
    let commands = Commands::new(&nats, &Intake::default().into(), [], false);
    let store = SagaStreams::start(&nats, &saga, &events, commands, false, SagaTimes::default());
    let armed = futures_stream::iter(0..timers).map(|number| {
        let store = &store;
        async move {
            let position = Position { sequence: Sequence(number as u64 + 1), part: 0 };
            let life = InputKey::of_event(LEDGER, position);
            let armed = ArmedTimer { r#type: "due".to_owned(), due: FAR, key: InputKey::of_timer(&life, 1) };
            let timers = [("due".to_owned(), armed.clone())].into();
            let instance =
                Instance { life: Some(life), state: Some(vec![b'1']), timers, ..Instance::default() };
            let set = TimerWrite::Set { id: "due".to_owned(), armed, data: Bytes::from_static(b"{}") };
            let id = InstanceId::new(format!("waits-{number}"))?;
            store.save(&id, &instance, &[set], 0).await?;
            anyhow::Ok(())
        }
    });
    armed.buffer_unordered(ARMING).try_collect::<()>().await?;
    store.close().await;
    nats.close().await?;
    Ok(())
}

/// A stream that grows by what a saga does.
struct Log {
    stream: stream::Stream,
}

impl Log {
    async fn open(servers: &Servers) -> anyhow::Result<Self> {
        Self::of(servers, COMMANDS).await
    }

    async fn of(servers: &Servers, stream: &str) -> anyhow::Result<Self> {
        Ok(Self { stream: jetstream::new(servers.connect().await?).get_stream(stream).await? })
    }

    /// Waits until it has this many messages at least. Returns when the last was stored.
    async fn has(&self, messages: usize, process: &mut Process) -> anyhow::Result<SystemTime> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.stream.get_info().await?.state;
            if state.messages >= messages as u64 {
                return Ok(SystemTime::from(state.last_timestamp));
            }
            process.check()?;
            if Instant::now() > deadline {
                let (name, found) = (&self.stream.cached_info().config.name, state.messages);
                bail!(
                    "{name} has {found} of {messages} messages after {PATIENCE:?}:\n{}",
                    process.last_lines()
                );
            }
            sleep(LOOK).await;
        }
    }

    /// The account of each command, and when it was stored.
    async fn sent(&self, count: usize) -> anyhow::Result<Vec<(usize, Timestamp)>> {
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::All,
            ..pull::Config::default()
        };
        let messages = self.stream.create_consumer(config).await?.messages().await?;
        let sent = messages.take(count).map(|message| {
            let message = message?;
            let command: Value = serde_json::from_slice(&message.payload)?;
            let account = command["account"].as_str().and_then(|account| account.strip_prefix('a'));
            let stored = message.info().map_err(|error| anyhow::anyhow!(error))?.published;
            let stored = Timestamp(u64::try_from(stored.unix_timestamp_nanos())?);
            Ok((account.context("a command has no account")?.parse()?, stored))
        });
        sent.collect::<Vec<anyhow::Result<_>>>().await.into_iter().collect()
    }
}
