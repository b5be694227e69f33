//! Switches of a plugin's version under load: what its callers notice.
//!
//! One host decides deposits with the ledger from the plugin store, under open-loop load at a share of what it can do. The
//! load runs without switches, with few and with many. Two equal versions take turns, both were compiled before, and the
//! host gets ready before each switch. Then `pelton plugin activate`, which rehearses the switch, runs under the load once. The
//! host, the server, the callers and that program share the machine.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use async_nats::Client;
use futures::StreamExt;
use pelton_core::id::Name;
use pelton_nats::plugin_store::activation::{Activation, Cause, PluginVersion};
use pelton_nats::plugin_store::preparation::{self, Candidate, Readiness};
use pelton_nats::{Nats, PluginStore};
use tokio::time::{sleep, sleep_until, timeout};

use crate::ledger::{Kind, Teller, converse};
use crate::open_loop::{self, Answers};
use crate::process::{Holds, Process};
use crate::servers::{LEDGER, Servers, Setup};
use crate::side::{self, Work};
use crate::stats::percentile_ms;
use crate::versions::{Operator, compiled};

/// The share of the full load that the callers make.
const LOAD: f64 = 0.7;
/// The number of clients that make the full load.
const IN_FLIGHT: usize = 256;
/// How long the time around a switch goes on after it.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// The longest time of one switch.
const PATIENCE: Duration = Duration::from_secs(60);

/// The amount of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) accounts: usize,
    /// The number of commands that measure the full load.
    pub(crate) commands: usize,
    /// How long the load runs without switches.
    pub(crate) undisturbed: Duration,
    /// The switches of the two loads with switches.
    pub(crate) rare: Switches,
    pub(crate) frequent: Switches,
    /// The switches of a plugin that gives no snapshots.
    pub(crate) without_snapshots: Switches,
    /// How many switches there are, one behind the other, before it is seen what the host holds, and how many after.
    pub(crate) many: [usize; 2],
}

/// So many switches, and the time from one to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switches {
    pub(crate) count: usize,
    pub(crate) every: Duration,
}

/// What the callers noticed.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Commands a second: those of the full load, and of the load.
    pub(crate) full_per_s: f64,
    pub(crate) per_s: f64,
    pub(crate) undisturbed: Noticed,
    pub(crate) rare: Noticed,
    pub(crate) frequent: Noticed,
    pub(crate) without: Noticed,
    /// How long `pelton plugin activate` took, and what the callers noticed meanwhile.
    pub(crate) activate: Duration,
    pub(crate) activated: Noticed,
    /// What the host held after the first of many switches, and after all.
    pub(crate) held: [Holds; 2],
}

/// What the callers noticed of one load.
#[derive(Debug)]
pub(crate) struct Noticed {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The longest time without any answer: around a switch, or throughout if there are none.
    pub(crate) stall_ms: f64,
    /// The time from one switch to the next, if there are several.
    pub(crate) between_ms: Option<f64>,
}

pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let servers = Servers::start(Setup::File).await?;
    let world = World::open(&servers, true).await?;
    let mut teller = Teller::new(plan.accounts, 0);
    converse(&world.client, IN_FLIGHT, teller.each_account(Kind::One)).await?;
    let full_per_s = full(&world.client, teller.any_account(Kind::One, plan.commands)).await?;
    let per_s = LOAD * full_per_s;
    let client = world.client.clone();
    let began = Instant::now();
    let pause = async {
        sleep(plan.undisturbed).await;
        Ok(())
    };
    let ((), answers) = open_loop::run(&client, &mut teller, per_s, pause).await?;
    let undisturbed = noticed(&answers, &[(began, Instant::now())])?;
    let mut disturbed = async |switches| {
        let (made, answers) = open_loop::run(&client, &mut teller, per_s, world.make(switches)).await?;
        noticed(&answers, &made)
    };
    let rare = disturbed(plan.rare).await?;
    let frequent = disturbed(plan.frequent).await?;
    let (activate, answers) = open_loop::run(&client, &mut teller, per_s, world.activate()).await?;
    let activated = noticed(&answers, &[])?;
    let held = [
        world.switch_at_once(plan.many[0], &mut teller).await?,
        world.switch_at_once(plan.many[1], &mut teller).await?,
    ];
    world.end().await?;
    let without = Box::pin(without_snapshots(plan, per_s)).await?;
    Ok(Figures { full_per_s, per_s, undisturbed, rare, frequent, without, activate, activated, held })
}

/// The same load on a host whose plugin gives no snapshots: every entity is loaded after every switch.
async fn without_snapshots(plan: Plan, per_s: f64) -> anyhow::Result<Noticed> {
    let servers = Servers::start(Setup::File).await?;
    let world = World::open(&servers, false).await?;
    let mut teller = Teller::new(plan.accounts, 0);
    converse(&world.client, IN_FLIGHT, teller.each_account(Kind::One)).await?;
    let client = world.client.clone();
    let (made, answers) =
        open_loop::run(&client, &mut teller, per_s, world.make(plan.without_snapshots)).await?;
    world.end().await?;
    noticed(&answers, &made)
}

/// Commands a second when all clients wait for answers.
async fn full(client: &Client, commands: Vec<crate::ledger::Message>) -> anyhow::Result<f64> {
    let (count, began) = (commands.len(), Instant::now());
    converse(client, IN_FLIGHT, commands).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// `times` are those in which a stall counts: from each switch on, for a while.
fn noticed(answers: &Answers, times: &[(Instant, Instant)]) -> anyhow::Result<Noticed> {
    let percentile = |percent| percentile_ms(&answers.latencies, percent).context("no command was sent");
    let stalls = times.iter().map(|(from, to)| answers.longest_gap(*from, *to));
    let first_to_last = times.last().zip(times.first()).map(|(last, first)| last.1 - first.1);
    Ok(Noticed {
        p50_ms: percentile(50)?,
        p99_ms: percentile(99)?,
        stall_ms: stalls.max().unwrap_or_default().as_secs_f64() * 1e3,
        between_ms: first_to_last
            .filter(|_| times.len() > 1)
            .map(|all| all.as_secs_f64() * 1e3 / (times.len() - 1) as f64),
    })
}

/// A host, its operator, and the versions that were pushed.
struct World {
    client: Client,
    process: Process,
    operator: Operator,
    store: PluginStore,
    nats: Nats,
    plugin: Name,
}

impl World {
    async fn open(servers: &Servers, snapshots: bool) -> anyhow::Result<Self> {
        let work = Work::FromStore { snapshots };
        let operator = Operator::new(servers, work)?;
        operator.push(0).await?;
        operator.push(1).await?;
        // The host has to find a version when it starts.
        operator.activate(0, 0).await?;
        side::configure(servers.folder(), work, servers, &compiled(servers))?;
        let process = side::host(servers.folder(), &["--nats", &servers.urls().join(",")]).await?;
        operator.activate(1, 1).await?;
        let nats = servers.nats().await?;
        let store = PluginStore::open(&nats, false).await?;
        let client = servers.connect().await?;
        Ok(Self { client, process, operator, store, nats, plugin: Name::new(LEDGER)? })
    }

    /// What runs, and the other version.
    async fn next(&self) -> anyhow::Result<(Activation, PluginVersion)> {
        let now = self.store.active(&self.plugin).await?.context("no version is active")?;
        let to = now.rollback().map_err(|why| anyhow!(why))?.clone();
        Ok((now, to))
    }

    /// Makes switches, the first after half the time. Returns from when to when each was under way, and the time after it.
    async fn make(&self, switches: Switches) -> anyhow::Result<Vec<(Instant, Instant)>> {
        let mut made = Vec::new();
        let mut next = tokio::time::Instant::now() + switches.every / 2;
        for _ in 0..switches.count {
            let (now, to) = self.next().await?;
            let candidate = Candidate { plugin: self.plugin.clone(), version: to.clone() };
            let hosts = preparation::ask(&self.nats, &candidate, PATIENCE).await?;
            let is_ready = |readiness: &Readiness| matches!(readiness, Readiness::Ready { .. });
            ensure!(hosts.values().any(is_ready), "no host is ready: {hosts:?}");
            sleep_until(next).await;
            let began = Instant::now();
            self.store.switch(&self.plugin, Some(&now), to, Cause::Activated, "bench").await?;
            made.push((began, Instant::now() + AFTERWARDS));
            next += switches.every;
        }
        sleep_until(next).await;
        Ok(made)
    }

    /// Has the operator's program make a switch. Returns how long it took.
    async fn activate(&self) -> anyhow::Result<Duration> {
        let (_, to) = self.next().await?;
        let began = Instant::now();
        self.operator.activate(to.version.parse()?, 1).await?;
        Ok(began.elapsed())
    }

    /// Makes switches without rehearsals, each as soon as the one before has decided a command. Returns what the host holds
    /// then.
    async fn switch_at_once(&self, switches: usize, teller: &mut Teller) -> anyhow::Result<Holds> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        for _ in 0..switches {
            let (now, to) = self.next().await?;
            let component = to.component.clone();
            self.store.switch(&self.plugin, Some(&now), to, Cause::Activated, "bench").await?;
            let decided = async {
                loop {
                    teller.draw(Kind::One).send(&self.client, inbox.clone()).await?;
                    let answer = answers.next().await.context("the subscription has ended")?;
                    if String::from_utf8_lossy(&answer.payload).contains(&component) {
                        return anyhow::Ok(());
                    }
                }
            };
            let does_not = || format!("the version does not decide:\n{}", self.process.last_lines());
            timeout(PATIENCE, decided).await.with_context(does_not)??;
        }
        self.process.holds()
    }

    async fn end(self) -> anyhow::Result<()> {
        self.process.end().await
    }
}
