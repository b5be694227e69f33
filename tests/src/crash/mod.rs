//! Crash tests: hosts and servers are killed and cut off while clients send the commands of the payment example.
//!
//! A run has rounds. In each round `faults` injects faults while `clients` send what `plan` generates. Then all faults
//! end, the remaining work is finished, and `check` verifies that every command took effect once. The commands, the
//! faults and their times follow from a seed. The interleaving of the processes depends on the machine.

mod answers;
mod broken;
mod check;
mod clients;
mod dead_letters;
mod faults;
mod host;
mod ledger;
mod plan;
pub mod proxy;
mod reader;
mod rules;
mod swaps;
mod world;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use check::Checker;
use clients::Clients;
use faults::Faults;
use host::Host;
use swaps::Swaps;
use world::World;

/// The number of clients that send at a time.
const CLIENTS: usize = 64;
/// The length of a round's load.
const ROUND: Duration = Duration::from_secs(20);
/// The longest time of the remaining work after all faults have ended.
const SETTLING: Duration = Duration::from_secs(120);
/// The wait between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// The wait between two checks.
const PAUSE: Duration = Duration::from_millis(100);
/// The most violations that are printed.
const PRINTED: usize = 40;

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The seed of the run.
    pub seed: u64,
    /// The number of servers, and of replicas of each stream: 1 or 3.
    pub replicas: usize,
    /// The time within which rounds are started.
    pub length: Duration,
    /// Whether versions of the plugin take each other's place meanwhile.
    pub swaps: bool,
}

/// The number of faults so far.
#[derive(Debug, Default)]
struct Counts {
    /// Hosts and servers killed from outside.
    kills: AtomicU64,
    /// Hosts that died at a failpoint.
    failpoints: AtomicU64,
    /// Hosts that ended by themselves. Nothing is lost by this, so it is not a violation.
    given_up: AtomicU64,
    /// Connections that were cut, paused or lost their answers.
    cuts: AtomicU64,
    /// Hosts and servers that stood still for a while.
    pauses: AtomicU64,
    /// Switches to another version of the plugin.
    swaps: AtomicU64,
    /// Candidates that were tried and must not run.
    refused: AtomicU64,
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// The result of a run.
#[derive(Debug)]
pub struct Summary {
    commands: usize,
    kills: u64,
    pauses: u64,
    cuts: u64,
    redeliveries: u64,
    /// Switches to another version of the plugin.
    pub swaps: u64,
    refused: u64,
    /// The violations, each with ids, stream and sequences.
    pub violations: Vec<String>,
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { commands, kills, pauses, cuts, redeliveries, swaps, refused, violations } = self;
        let violations = violations.len();
        write!(
            f,
            "crash: {commands} commands, {kills} kills, {pauses} pauses, {cuts} cuts, {redeliveries} redeliveries, \
             {swaps} swaps, {refused} broken candidates, {violations} violations"
        )
    }
}

/// Runs rounds until the time is over or a promise is broken. Prints its progress.
///
/// # Errors
///
/// The run itself did not work, whatever Pelton did.
pub async fn run(settings: Settings) -> anyhow::Result<Summary> {
    let Settings { seed, replicas, length, swaps } = settings;
    println!("crash: SEED={seed} REPLICAS={replicas}{}", if swaps { " SWAPS=1" } else { "" });
    let mut random = Rng::with_seed(seed);
    let mut world = World::open(replicas, swaps, &mut random).await?;
    for host in &mut world.hosts {
        host.start(false)?;
    }
    let clients = Arc::new(Clients::new(random.u64(..), world.gateways(), &world.urls()).await?);
    let run = Run { counts: Arc::default(), clients, started: Instant::now() };
    let mut swaps =
        swaps.then(|| Swaps::new(random.fork(), world.folder.path(), world.hosts[0].config(), &world.urls()));
    if let Some(swaps) = &mut swaps {
        swaps.begin(&run.counts).await?;
    }
    ready(&world).await?;
    let _progress = run.progress();
    let (mut faults, mut checker) = (Faults::new(random.fork()), Checker::default());
    let mut violations = Vec::new();
    while violations.is_empty() && run.started.elapsed() < length {
        let load = ROUND.min(length.saturating_sub(run.started.elapsed()));
        violations = run.round(&mut world, &mut faults, swaps.as_mut(), load).await?;
        violations.extend(checker.check(&run.jetstream(), &run.clients.ledger).await?);
        if violations.is_empty() {
            world.hosts.iter().try_for_each(Host::forget_log)?;
        }
    }
    if violations.is_empty() {
        // What held then must still hold now.
        violations = Checker::default().check(&run.jetstream(), &run.clients.ledger).await?;
    }
    if let Some(swaps) = &swaps {
        print!("{}", swaps.stopped());
    }
    let summary = run.summary(violations).await?;
    if !summary.violations.is_empty() {
        summary.violations.iter().take(PRINTED).for_each(|violation| println!("violation: {violation}"));
        println!("crash: everything is kept in {}", world.keep().display());
    }
    Ok(summary)
}

struct Run {
    counts: Arc<Counts>,
    clients: Arc<Clients>,
    started: Instant,
}

impl Run {
    /// Load with faults, then neither, until no work remains. Returns the work that remains nevertheless.
    async fn round(
        &self,
        world: &mut World,
        faults: &mut Faults,
        swaps: Option<&mut Swaps>,
        load: Duration,
    ) -> anyhow::Result<Vec<String>> {
        let stop = CancellationToken::new();
        let mut working = JoinSet::new();
        for _ in 0..CLIENTS {
            let (clients, stop) = (self.clients.clone(), stop.clone());
            working.spawn(async move { clients.work(&stop).await });
        }
        let over = async {
            sleep(load).await;
            stop.cancel();
            anyhow::Ok(())
        };
        let switching = async {
            match swaps {
                Some(swaps) => swaps.run(&self.counts, &stop).await,
                None => Ok(Vec::new()),
            }
        };
        let ((), (), mut left) = tokio::try_join!(over, faults.run(world, &self.counts, &stop), switching)?;
        faults.calm(world, &self.counts).await?;
        let deadline = Instant::now() + SETTLING;
        while !working.is_empty() {
            // Nothing else checks the hosts at this time.
            faults.look(world, &self.counts, false).await?;
            if Instant::now() > deadline {
                let ids = self.clients.working().iter().cloned().collect::<Vec<_>>().join(", ");
                left.push(format!("clients have no answer after {SETTLING:?} of calm: {ids}"));
                break;
            }
            if let Ok(Some(ended)) = timeout(PAUSE, working.join_next()).await {
                ended.context("a client broke")?;
            }
        }
        while self.waiting().await != Some(0) && Instant::now() < deadline {
            faults.look(world, &self.counts, false).await?;
            sleep(PAUSE).await;
        }
        Ok(left)
    }

    fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.clients.nats().clone())
    }

    /// The number of waiting commands, if the server answers.
    async fn waiting(&self) -> Option<u64> {
        let stream = self.jetstream().get_stream("COMMANDS").await.ok()?;
        let mut waiting = 0;
        for consumer in world::consumers() {
            let consumer = stream.consumer_info(consumer).await.ok()?;
            waiting += consumer.num_pending + consumer.num_ack_pending as u64;
        }
        Some(waiting)
    }

    async fn summary(&self, violations: Vec<String>) -> anyhow::Result<Summary> {
        let stream = self.jetstream().get_stream("COMMANDS").await?;
        let mut delivered = 0;
        for consumer in world::consumers() {
            let consumer = stream.consumer_info(consumer).await.context("no consumer of commands")?;
            delivered += consumer.delivered.consumer_sequence;
        }
        let stored = stream.cached_info().state.last_sequence;
        if get(&self.counts.given_up) > 0 {
            println!(
                "crash: {} times a host gave up by itself and was started again",
                get(&self.counts.given_up)
            );
        }
        Ok(Summary {
            commands: self.clients.ledger.len(),
            kills: get(&self.counts.kills) + get(&self.counts.failpoints),
            pauses: get(&self.counts.pauses),
            cuts: get(&self.counts.cuts),
            redeliveries: delivered.saturating_sub(stored),
            swaps: get(&self.counts.swaps),
            refused: get(&self.counts.refused),
            violations,
        })
    }

    fn progress(&self) -> JoinSet<()> {
        let (counts, clients, started) = (self.counts.clone(), self.clients.clone(), self.started);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = interval(PROGRESS);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Counts { kills, failpoints, cuts, .. } = &*counts;
                println!(
                    "crash: {:4} s: {} commands, {} kills, {} ends at failpoints, {} cuts",
                    started.elapsed().as_secs(),
                    clients.ledger.len(),
                    get(kills),
                    get(failpoints),
                    get(cuts)
                );
            }
        });
        task
    }
}

/// Waits until every gateway is ready.
async fn ready(world: &World) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let deadline = Instant::now() + SETTLING;
    for gateway in world.gateways() {
        let address = format!("{gateway}/readyz");
        while !http.get(&address).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if Instant::now() > deadline {
                bail!(
                    "no host at {gateway} after {SETTLING:?}; see the logs in {}",
                    world.folder.path().display()
                );
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}
