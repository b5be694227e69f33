//! The faults of a run, and when they happen. All of them are drawn from the seed; the end of each fault is scheduled
//! with it.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::host::End;
use super::proxy::{Flow, Proxy};
use super::world::World;
use super::{Counts, add};

/// The wait between two faults, in milliseconds.
const BETWEEN_MS: std::ops::Range<u64> = 200..2_000;
/// The wait between two checks.
const TICK: Duration = Duration::from_millis(20);

/// The end of a fault.
#[derive(Debug, Clone, Copy)]
enum Undo {
    StartHost(usize),
    StartServer(usize),
    ContinueHost(usize),
    ContinueServer(usize),
    Open(usize, usize),
}

/// Injects faults.
#[derive(Debug)]
pub(super) struct Faults {
    random: Rng,
    undo: Vec<(Instant, Undo)>,
}

impl Faults {
    pub(super) fn new(random: Rng) -> Self {
        Self { random, undo: Vec::new() }
    }

    /// Injects faults until it is told to stop. The faults that are active then stay active.
    pub(super) async fn run(
        &mut self,
        world: &mut World,
        counts: &Counts,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut next = Instant::now() + self.milliseconds(BETWEEN_MS);
        while !stop.is_cancelled() {
            self.look(world, counts, true).await?;
            if Instant::now() >= next {
                self.strike(world, counts).await?;
                next = Instant::now() + self.milliseconds(BETWEEN_MS);
            }
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Ends all faults. Hosts are started again without failpoints.
    pub(super) async fn calm(&mut self, world: &mut World, counts: &Counts) -> anyhow::Result<()> {
        for proxy in world.proxies.iter().flatten() {
            proxy.set(Flow::Open);
        }
        for (_, undo) in std::mem::take(&mut self.undo) {
            match undo {
                Undo::StartServer(server) => world.servers[server].restart().await?,
                Undo::ContinueServer(server) => signal(world.servers[server].pid(), Signal::CONT),
                Undo::ContinueHost(_) | Undo::StartHost(_) | Undo::Open(..) => {}
            }
        }
        self.look(world, counts, false).await?;
        self.undo.clear();
        for host in &mut world.hosts {
            add(&counts.kills, u64::from(host.runs()));
            host.kill().await?;
            host.start(false)?;
        }
        Ok(())
    }

    /// Handles processes that ended by themselves, and ends the faults that are due.
    pub(super) async fn look(
        &mut self,
        world: &mut World,
        counts: &Counts,
        armed: bool,
    ) -> anyhow::Result<()> {
        for host in 0..world.hosts.len() {
            match world.hosts[host].ended()? {
                None => continue,
                Some(End::Failpoint) => add(&counts.failpoints, 1),
                Some(End::Unexpected(what)) => {
                    println!("crash: a host gave up by itself: {what}");
                    add(&counts.given_up, 1);
                }
            }
            let pause = self.milliseconds(0..500);
            self.undo.push((Instant::now() + pause, Undo::StartHost(host)));
        }
        let now = Instant::now();
        let due: Vec<_> = self.undo.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, undo) in due {
            match undo {
                Undo::StartHost(host) => {
                    if !world.hosts[host].runs() {
                        world.hosts[host].start(armed)?;
                    }
                }
                Undo::StartServer(server) => world.servers[server].restart().await?,
                Undo::ContinueHost(host) => signal(world.hosts[host].pid(), Signal::CONT),
                Undo::ContinueServer(server) => signal(world.servers[server].pid(), Signal::CONT),
                Undo::Open(host, server) => world.proxies[host][server].set(Flow::Open),
            }
        }
        Ok(())
    }

    async fn strike(&mut self, world: &mut World, counts: &Counts) -> anyhow::Result<()> {
        let (kind, host) = (self.random.u32(0..100), self.random.usize(0..world.hosts.len()));
        let server = self.random.usize(0..world.servers.len());
        let long = self.milliseconds(100..4_000);
        let short = self.milliseconds(0..1_000);
        match kind {
            0..28 => {
                if world.hosts[host].runs() {
                    world.hosts[host].kill().await?;
                    add(&counts.kills, 1);
                    self.later(short, Undo::StartHost(host));
                }
            }
            28..36 => {
                // A majority of servers stays, if there is one.
                if world.servers.iter().all(|server| server.pid().is_some()) {
                    world.servers[server].kill().await?;
                    add(&counts.kills, 1);
                    self.later(short * 2, Undo::StartServer(server));
                }
            }
            36..56 => {
                world.proxies[host].iter().for_each(Proxy::cut);
                add(&counts.cuts, 1);
            }
            // Shorter and longer than `ack-wait`, and than another host waits before it takes over.
            56..68 => {
                signal(world.hosts[host].pid(), Signal::STOP);
                add(&counts.pauses, 1);
                let pause = self.milliseconds(100..6_000);
                self.later(pause, Undo::ContinueHost(host));
            }
            68..74 => {
                signal(world.servers[server].pid(), Signal::STOP);
                add(&counts.pauses, 1);
                self.later(long, Undo::ContinueServer(server));
            }
            74..82 => self.disturb(world, counts, (host, server), Flow::Paused, long),
            82..93 => self.disturb(world, counts, (host, server), Flow::Deaf, short / 2),
            _ => self.disturb(world, counts, (host, server), Flow::Closed, short),
        }
        Ok(())
    }

    fn disturb(
        &mut self,
        world: &World,
        counts: &Counts,
        (host, server): (usize, usize),
        flow: Flow,
        pause: Duration,
    ) {
        world.proxies[host][server].set(flow);
        add(&counts.cuts, 1);
        self.later(pause, Undo::Open(host, server));
    }

    fn later(&mut self, pause: Duration, undo: Undo) {
        self.undo.push((Instant::now() + pause, undo));
    }

    fn milliseconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }
}

/// Sends a signal to a process that this one has started. One that has ended needs none.
fn signal(process: Option<u32>, signal: Signal) {
    let process = process.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(process) = process {
        let _ = kill_process(process, signal);
    }
}
