//! The parts of a run, and the keys of the report that each fills.

use anyhow::ensure;
use std::time::Duration;

use crate::commands::{Figures, Plan, Run, compare};
use crate::ledger::Kind;
use crate::projections::{self, Kept, Keys};
use crate::report::Report;
use crate::sagas;
use crate::servers::Setup;
use crate::side::Side;
use crate::stats::{percentile_ms, quotients};
use crate::swap::{self, Switches};
use crate::{Size, inside, testing, whole};

/// The number of accounts that commands are spread over.
const ACCOUNTS: usize = 10_000;
/// The number of accounts where a command by hand takes milliseconds. The first command of each account would otherwise
/// take as long as the measurement.
const FEW_ACCOUNTS: usize = 1_000;
/// The number of events of a view.
const EVENTS: usize = 20_000;
/// The number of events of a recording.
const RECORDED: usize = 100_000;

/// `commands`, `commands_r3`, `commands_fsync`: all three sides with 1, 16 and 256 commands in flight.
pub(crate) async fn commands(report: &mut Report, size: Size, setup: Setup) -> anyhow::Result<()> {
    let (part, accounts, counts) = match setup {
        Setup::File => ("commands", ACCOUNTS, [400, 2_000, 6_000]),
        Setup::Replicated => ("commands_r3", FEW_ACCOUNTS, [150, 800, 3_000]),
        Setup::Fsync => ("commands_fsync", FEW_ACCOUNTS, [150, 500, 2_000]),
    };
    let runs = [1, 16, 256].into_iter().zip(counts).map(|(in_flight, commands)| Run {
        in_flight,
        commands: size.of(commands),
        conversation: size.of(commands / 5),
    });
    let plan = Plan { setup, kind: Kind::One, accounts: size.of(accounts), runs: runs.collect() };
    let sides = [Side::Bare, Side::Same, Side::Pelton].map(|side| (side, plan.clone()));
    let all = compare(&sides, size.rounds()).await?;
    for (at, run) in plan.runs.iter().enumerate() {
        let key = |figure: &str| format!("{part}.c{}.{figure}", run.in_flight);
        let [bare, same, pelton] = [0, 1, 2].map(|side| of_run(&all[side], at));
        let [bare_per_s, same_per_s, pelton_per_s] = [&bare, &same, &pelton].map(|rounds| per_s(rounds));
        report.median(key("bare_per_s"), &bare_per_s);
        report.median(key("same_per_s"), &same_per_s);
        report.median(key("pelton_per_s"), &pelton_per_s);
        report.median(key("ratio_bare"), &quotients(&pelton_per_s, &bare_per_s));
        report.median(key("ratio_same"), &quotients(&pelton_per_s, &same_per_s));
        for (side, name) in [(&pelton, ""), (&same, "same_")] {
            for percent in [50, 99] {
                let rounds: Vec<_> =
                    side.iter().filter_map(|round| percentile_ms(&round.answers, percent)).collect();
                report.median(key(&format!("{name}p{percent}_ms")), &rounds);
            }
        }
        if setup == Setup::File && run.in_flight == 256 {
            cpu(report, &same, &pelton);
            stored(report, &same, &pelton);
        }
    }
    Ok(())
}

/// `cpu`: the processor time of a command with 256 in flight.
fn cpu(report: &mut Report, same: &[&Figures], pelton: &[&Figures]) {
    let [same_us, pelton_us] = [same, pelton].map(|side| of(side, |figures| figures.side_us));
    report.median("cpu.us_per_command_pelton", &pelton_us);
    report.median("cpu.us_per_command_same", &same_us);
    report.median("cpu.ratio", &quotients(&pelton_us, &same_us));
    report.median("cpu.server_us_per_command_pelton", &of(pelton, |figures| figures.server_us));
    report.median("cpu.server_us_per_command_same", &of(same, |figures| figures.server_us));
}

/// `stored`: the stored bytes of a command, beside the command itself.
fn stored(report: &mut Report, same: &[&Figures], pelton: &[&Figures]) {
    let [same, pelton] = [same, pelton].map(|side| of(side, |figures| figures.stored_bytes));
    report.median("stored.bytes_per_command_pelton", &pelton);
    report.median("stored.bytes_per_command_same", &same);
}

/// `hot_entity`: all commands are for one account.
pub(crate) async fn hot_entity(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let plan = |commands| plan_at_256(size, Kind::One, 1, commands);
    two_sides(report, size, "hot_entity", [plan(2_000), plan(4_000)]).await
}

/// `multi_event`: three events follow from every command. By hand a batch costs milliseconds and there is one at a
/// time, so the two sides get as many commands as they can process in about the same time.
pub(crate) async fn multi_event(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let plan = |commands| plan_at_256(size, Kind::Three, size.of(FEW_ACCOUNTS), commands);
    two_sides(report, size, "multi_event", [plan(400), plan(8_000)]).await
}

fn plan_at_256(size: Size, kind: Kind, accounts: usize, commands: usize) -> Plan {
    let run = Run { in_flight: 256, commands: size.of(commands), conversation: 0 };
    Plan { setup: Setup::File, kind, accounts, runs: vec![run] }
}

async fn two_sides(report: &mut Report, size: Size, part: &str, plans: [Plan; 2]) -> anyhow::Result<()> {
    let [same, pelton] = plans;
    let all = compare(&[(Side::Same, same), (Side::Pelton, pelton)], size.rounds()).await?;
    ensure!(all.len() == 2, "two sides give two lists");
    let [same_per_s, pelton_per_s] = [0, 1].map(|side| per_s(&of_run(&all[side], 0)));
    report.median(format!("{part}.pelton_per_s"), &pelton_per_s);
    report.median(format!("{part}.same_per_s"), &same_per_s);
    report.median(format!("{part}.ratio"), &quotients(&pelton_per_s, &same_per_s));
    Ok(())
}

/// `rejected`: commands that are rejected against commands that are accepted, both by Pelton.
pub(crate) async fn rejected(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let plan = |kind| (Side::Pelton, plan_at_256(size, kind, size.of(FEW_ACCOUNTS), 10_000));
    let all = compare(&[plan(Kind::One), plan(Kind::Rejected)], size.rounds()).await?;
    let [accepted_per_s, rejected_per_s] = [0, 1].map(|side| per_s(&of_run(&all[side], 0)));
    report.median("rejected.accepted_per_s", &accepted_per_s);
    report.median("rejected.rejected_per_s", &rejected_per_s);
    report.median("rejected.ratio", &quotients(&rejected_per_s, &accepted_per_s));
    Ok(())
}

/// `projection.one` and `projection.hundred`.
pub(crate) async fn projection(report: &mut Report, size: Size) -> anyhow::Result<()> {
    for (keys, name, events) in [(Keys::One, "one", EVENTS), (Keys::Hundred, "hundred", 2 * EVENTS)] {
        let measured = async |side, round| projections::measure(side, keys, size.of(events), round).await;
        kept(report, &format!("projection.{name}"), &by_turns(size, measured).await?);
    }
    Ok(())
}

/// `saga`: events through a saga, and its timers.
pub(crate) async fn saga(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let sides = by_turns(size, async |side, round| sagas::reactions(side, size.of(EVENTS), round).await);
    kept(report, "saga", &sides.await?);
    let unlisted = sagas::unlisted(size.of(5 * EVENTS)).await?;
    report.put("saga.unlisted_us_per_event", unlisted.as_secs_f64() * 1e6);
    report.put("saga.start_s", sagas::start(size.of(1_000_000)).await?.as_secs_f64());
    let steady = Duration::from_secs_f64(size.of(10_000) as f64 / 1_000.0);
    let (late, _) = sagas::timers(size.of(10_000), Duration::from_secs(8), steady).await?;
    for percent in [50, 99] {
        if let Some(time) = percentile_ms(&late, percent) {
            report.put(format!("saga.timer_p{percent}_ms"), time);
        }
    }
    let armed_within = Duration::from_secs(if size == Size::Full { 60 } else { 10 });
    let (_, burst) = sagas::timers(size.of(100_000), armed_within, Duration::from_secs(1)).await?;
    report.put("saga.burst_s", burst.as_secs_f64());
    report.put("saga.restart_s", sagas::restart(size.of(1_000_000)).await?.as_secs_f64());
    Ok(())
}

/// The rounds of two sides, by hand and Pelton's, which take turns.
async fn by_turns(
    size: Size,
    measure: impl AsyncFn(Side, u64) -> anyhow::Result<Kept>,
) -> anyhow::Result<[Vec<Kept>; 2]> {
    let [mut bare, mut pelton] = [Vec::new(), Vec::new()];
    for round in 0..size.rounds() as u64 {
        let mut turns = [(Side::Bare, &mut bare), (Side::Pelton, &mut pelton)];
        if round % 2 == 1 {
            turns.reverse();
        }
        for (side, rounds) in turns {
            rounds.push(measure(side, round).await?);
        }
    }
    Ok([bare, pelton])
}

/// How fast the two sides were with events.
fn kept(report: &mut Report, part: &str, [bare, pelton]: &[Vec<Kept>; 2]) {
    let per_s = |side: &[Kept]| side.iter().map(|kept| kept.per_s).collect::<Vec<_>>();
    let (bare_per_s, pelton_per_s) = (per_s(bare), per_s(pelton));
    let key = |figure: &str| format!("{part}.{figure}");
    report.median(key("bare_per_s"), &bare_per_s);
    report.median(key("pelton_per_s"), &pelton_per_s);
    report.median(key("ratio"), &quotients(&pelton_per_s, &bare_per_s));
    for (name, side) in [("bare", bare), ("pelton", pelton)] {
        let of = |figure: fn(&Kept) -> f64| side.iter().map(figure).collect::<Vec<_>>();
        report.median(key(&format!("cpu_us_per_event_{name}")), &of(|kept| kept.side_us));
        report.median(key(&format!("cpu_us_per_event_{name}_server")), &of(|kept| kept.server_us));
    }
}

/// `end_to_end`: the time from an HTTP command until its view shows it, one command after the other.
pub(crate) async fn end_to_end(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let times = whole::end_to_end(size.of(1_000)).await?;
    for percent in [50, 99] {
        if let Some(time) = percentile_ms(&times, percent) {
            report.put(format!("end_to_end.p{percent}_ms"), time);
        }
    }
    Ok(())
}

/// `call` and `call_raw`: one call with one event or command of 256 bytes. The spread is that of batches.
pub(crate) async fn call(report: &mut Report) -> anyhow::Result<()> {
    let calls = inside::calls().await?;
    for part in ["call", "call_raw"] {
        for name in ["evolve_ns", "decide_ns", "keys_ns", "project_ns", "instantiate_us", "entity_us"] {
            report.median(format!("{part}.{name}"), &inside::figures(&calls[part][name])?);
        }
    }
    Ok(())
}

/// `own_code`: a command without its messages, with few live entities and with many.
pub(crate) async fn own_code(report: &mut Report, size: Size) -> anyhow::Result<()> {
    for (entities, commands) in [(10, 2_000), (ACCOUNTS, 5)] {
        let us = inside::own_code(entities, size.of(commands).max(2)).await?;
        report.put(format!("own_code.us_per_command_{entities}_live"), us);
    }
    Ok(())
}

/// `cold_load`: an entity of twenty events in a stream of a million.
pub(crate) async fn cold_load(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let accounts = size.of(50_000);
    let times: Vec<_> = inside::cold_loads(accounts, size.of(5_000)).await?;
    let times: Vec<_> = times.into_iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
    for percent in [50, 99] {
        if let Some(time) = percentile_ms(&times, percent) {
            report.put(format!("cold_load.p{percent}_ms"), time);
        }
    }
    report.put("cold_load.stream_messages", (20 * accounts) as f64);
    Ok(())
}

/// `memory`.
pub(crate) async fn memory(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let memory = whole::memory(size.of(4_000)).await?;
    report.put("memory.idle_mib", memory.idle_bytes / f64::from(1 << 20));
    report.put("memory.kib_per_live_entity", memory.live_entity_bytes / f64::from(1 << 10));
    Ok(())
}

/// `start`, of the hotel.
pub(crate) async fn start(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let starts = whole::starts(size.rounds().min(3), size.rounds()).await?;
    let ms = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Vec<_>>();
    report.median("start.first_compile_ms", &ms(&starts.first_compile));
    report.median("start.cached_ms", &ms(&starts.cached));
    Ok(())
}

/// `testing`: what somebody who writes a plugin waits for.
pub(crate) async fn testing(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let [mut hotel, mut javascript, mut watch] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..size.rounds().min(3) {
        hotel.push(testing::hotel().await?.as_secs_f64());
        javascript.push(testing::javascript().await?.as_secs_f64());
        watch.push(testing::watch().await?.as_secs_f64());
    }
    report.median("testing.hotel_s", &hotel);
    report.median("testing.javascript_s", &javascript);
    report.median("testing.watch_s", &watch);
    let recorded = testing::recorded(size.of(RECORDED), size.of(ACCOUNTS)).await?;
    report.put("testing.record_s", recorded.record.as_secs_f64());
    report.put("testing.replay_s", recorded.replay.as_secs_f64());
    Ok(())
}

/// `swap`: the callers of a host whose plugin is switched. A quick run makes fewer switches.
pub(crate) async fn swap(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let full = size == Size::Full;
    let [undisturbed, rare, frequent] = if full { [20, 3, 30] } else { [5, 1, 4] };
    let plan = swap::Plan {
        accounts: size.of(ACCOUNTS),
        commands: size.of(60_000),
        undisturbed: Duration::from_secs(undisturbed),
        rare: Switches { count: usize::try_from(rare)?, every: Duration::from_secs(10) },
        frequent: Switches { count: usize::try_from(frequent)?, every: Duration::from_millis(600) },
        without_snapshots: Switches { count: if full { 5 } else { 2 }, every: Duration::from_millis(600) },
        many: if full { [100, 900] } else { [10, 10] },
    };
    let figures = Box::pin(swap::measure(plan)).await?;
    let swap::Figures { undisturbed, rare, frequent, without, activated, held: [early, late], .. } = &figures;
    report.put("swap.full_per_s", figures.full_per_s);
    report.put("swap.per_s", figures.per_s);
    report.put("swap.activate_s", figures.activate.as_secs_f64());
    for (name, load) in [
        ("none", undisturbed),
        ("10s", rare),
        ("0_6s", frequent),
        ("0_6s_without", without),
        ("activate", activated),
    ] {
        report.put(format!("swap.p50_ms_{name}"), load.p50_ms);
        report.put(format!("swap.p99_ms_{name}"), load.p99_ms);
        report.put(format!("swap.stall_ms_{name}"), load.stall_ms);
        if let Some(between) = load.between_ms {
            report.put(format!("swap.between_ms_{name}"), between);
        }
    }
    report.put("swap.p99_ratio_10s", rare.p99_ms / undisturbed.p99_ms);
    report.put("swap.p99_ratio_0_6s", frequent.p99_ms / undisturbed.p99_ms);
    report.put("swap.p99_ratio_0_6s_without", without.p99_ms / undisturbed.p99_ms);
    report.put("swap.longest_stall_ms", rare.stall_ms.max(frequent.stall_ms));
    let left = |early: usize, late: usize| late as f64 - early as f64;
    report.put("swap.left_mib", (late.resident_bytes as f64 - early.resident_bytes as f64) / 1024.0 / 1024.0);
    report.put("swap.left_mappings", left(early.mappings, late.mappings));
    report.put("swap.left_threads", left(early.threads, late.threads));
    report.put("swap.left_descriptors", left(early.descriptors, late.descriptors));
    Ok(())
}

/// The figures of one run in every round.
fn of_run(rounds: &[Vec<Figures>], at: usize) -> Vec<&Figures> {
    rounds.iter().filter_map(|runs| runs.get(at)).collect()
}

fn of(rounds: &[&Figures], figure: impl Fn(&Figures) -> f64) -> Vec<f64> {
    rounds.iter().map(|figures| figure(figures)).collect()
}

fn per_s(rounds: &[&Figures]) -> Vec<f64> {
    of(rounds, |figures| figures.per_s)
}
