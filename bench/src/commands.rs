//! Commands: the number decided a second, the time until an answer, and the processor time.
//!
//! The commands are stored in their stream before the clock starts. A feeder that ran at the same time would cost all
//! sides the same on the same processors, and so draw every ratio towards one. The server controls the number of
//! commands in flight: it delivers no more than `max_ack_pending` unacknowledged ones. The process is stopped meanwhile
//! (SIGSTOP). The clock runs from the moment when the process continues until the last event is stored, by the server's
//! own time stamp. Before that every account has had one command, so that all sides have their accounts in memory.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer, PullConsumer, pull};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use crate::ledger::{Kind, Message, Teller, converse, lay_ready};
use crate::process::Process;
use crate::servers::{LEDGER, MAX_ACK_PENDING, Servers, Setup};
use crate::side::{Side, Work};

/// The stream of commands.
const COMMANDS: &str = "COMMANDS";
/// The stream of outcomes.
const AUDIT: &str = "AUDIT";
/// The time without progress after which a run counts as broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait between two checks for the end of the work.
const LOOK: Duration = Duration::from_millis(10);

/// The measurements to take, each on a fresh server.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) kind: Kind,
    pub(crate) accounts: usize,
    /// The runs, each with its commands in flight.
    pub(crate) runs: Vec<Run>,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) in_flight: usize,
    /// The number of commands that are stored in advance.
    pub(crate) commands: usize,
    /// The number of commands that clients send while they wait for answers.
    pub(crate) conversation: usize,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) per_s: f64,
    /// The time of each answer, for sides that answer.
    pub(crate) answers: Vec<Duration>,
    /// The processor time of a command, in microseconds: the side's own, and its servers'.
    pub(crate) side_us: f64,
    pub(crate) server_us: f64,
    /// The stored bytes of a command: events and outcome.
    pub(crate) stored_bytes: f64,
}

/// Measures one side on fresh servers. Returns figures in the order of the plan's runs.
async fn measure(side: Side, plan: &Plan, servers: Servers, seed: u64) -> anyhow::Result<Vec<Figures>> {
    let process = side.start(Work::Commands(plan.setup), &servers).await?;
    let client = servers.connect().await?;
    let mut bench = Bench { jetstream: jetstream::new(client.clone()), client, servers, process };
    let mut teller = Teller::new(plan.accounts, seed);
    let mut figures = Vec::new();
    bench.drain(teller.each_account(Kind::One), Kind::One, MAX_ACK_PENDING.try_into()?).await?;
    for run in &plan.runs {
        let commands = teller.any_account(plan.kind, run.commands);
        let mut measured = bench.drain(commands, plan.kind, run.in_flight).await?;
        if side != Side::Bare && run.conversation > 0 {
            bench.let_through(MAX_ACK_PENDING.try_into()?).await?;
            let commands = teller.any_account(plan.kind, run.conversation);
            measured.answers = converse(&bench.client, run.in_flight, commands).await?;
        }
        figures.push(measured);
    }
    bench.process.end().await?;
    Ok(figures)
}

struct Bench {
    client: Client,
    jetstream: jetstream::Context,
    servers: Servers,
    process: Process,
}

impl Bench {
    /// Lets the side process these commands.
    async fn drain(
        &mut self,
        commands: Vec<Message>,
        kind: Kind,
        in_flight: usize,
    ) -> anyhow::Result<Figures> {
        let count = commands.len();
        self.let_through(in_flight).await?;
        self.process.hold().await?;
        lay_ready(&self.client, commands).await?;
        let before = self.events().await?;
        let (side, server) = (self.process.cpu()?, self.servers.cpu()?);
        let began = SystemTime::now();
        self.process.let_go()?;
        self.finished().await?;
        let (side, server) = (self.process.cpu()? - side, self.servers.cpu()? - server);
        let after = self.events().await?;
        ensure!(
            after.count - before.count == count as u64 * kind.messages(),
            "{} messages follow from {count} commands:\n{}",
            after.count - before.count,
            self.process.last_lines()
        );
        let count = count as f64;
        Ok(Figures {
            per_s: count / after.last.duration_since(began)?.as_secs_f64(),
            answers: Vec::new(),
            side_us: side.as_secs_f64() * 1e6 / count,
            server_us: server.as_secs_f64() * 1e6 / count,
            stored_bytes: (after.bytes - before.bytes) as f64 / count,
        })
    }

    /// Lets the server deliver no more unacknowledged commands than this.
    async fn let_through(&self, in_flight: usize) -> anyhow::Result<()> {
        let mut consumer: PullConsumer = self.jetstream.get_consumer_from_stream(LEDGER, COMMANDS).await?;
        let config = consumer.info().await?.config.clone();
        let mut config = pull::Config::try_from_consumer_config(config).map_err(|e| anyhow::anyhow!(e))?;
        config.max_ack_pending = in_flight.try_into()?;
        self.jetstream.update_consumer_on_stream(config, COMMANDS).await?;
        Ok(())
    }

    /// Waits until no command is left.
    async fn finished(&mut self) -> anyhow::Result<()> {
        let mut consumer: PullConsumer = self.jetstream.get_consumer_from_stream(LEDGER, COMMANDS).await?;
        let (mut left, mut changed) = (None, Instant::now());
        loop {
            let info = consumer.info().await?;
            let now = info.num_pending + info.num_ack_pending as u64;
            if now == 0 {
                return Ok(());
            }
            self.process.check()?;
            if left.replace(now) != Some(now) {
                changed = Instant::now();
            }
            if changed.elapsed() > PATIENCE {
                bail!("{now} commands are left and nothing happens:\n{}", self.process.last_lines());
            }
            sleep(LOOK).await;
        }
    }

    async fn events(&self) -> anyhow::Result<Events> {
        let mut stream = self.jetstream.get_stream(LEDGER).await?;
        let state = stream.info().await?.state.clone();
        let mut outcomes = self.jetstream.get_stream(AUDIT).await?;
        let bytes = state.bytes + outcomes.info().await?.state.bytes;
        Ok(Events { count: state.messages, last: SystemTime::from(state.last_timestamp), bytes })
    }
}

/// The state of the event stream.
struct Events {
    count: u64,
    /// When the last event was stored.
    last: SystemTime,
    /// The stored bytes, with the outcomes.
    bytes: u64,
}

/// Compares sides. In every round each side has its turn on fresh servers, and another side begins. Returns figures by
/// side, round and run.
pub(crate) async fn compare(sides: &[(Side, Plan)], rounds: usize) -> anyhow::Result<Vec<Vec<Vec<Figures>>>> {
    let mut all = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        // Started concurrently, because servers take seconds to find each other.
        let servers = try_join_all(sides.iter().map(|(_, plan)| Servers::start(plan.setup))).await?;
        for (turn, servers) in servers.into_iter().enumerate() {
            let at = (round + turn) % sides.len();
            let (side, plan) = &sides[at];
            let figures = measure(*side, plan, servers, round as u64).await;
            all[at].push(figures.with_context(|| format!("{side:?} on {:?}", plan.setup))?);
        }
    }
    Ok(all)
}
