//! `make bench`: Pelton against the same work done by hand. See `host/BENCHMARKS.md`.
#![forbid(unsafe_code)]

mod commands;
mod explain;
mod inside;
mod instructions;
mod ledger;
mod open_loop;
mod parts;
mod process;
mod projections;
mod report;
mod sagas;
mod servers;
mod side;
mod stats;
mod swap;
mod testing;
mod versions;
mod whole;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, Parser};
use instructions::Instructions;
use report::Report;
use serde_json::json;
use servers::Setup;

/// Measures Pelton against the same work done by hand, in the same run, on the same server
#[derive(Debug, Parser)]
enum Arguments {
    /// Take all figures
    Run(Run),
    /// Count the instructions of a command, and compare them with those on record
    Instructions(Instructions),
}

#[derive(Debug, Args)]
struct Run {
    /// A run of under a minute: one round, and little work in it
    #[arg(long)]
    quick: bool,
    /// Only these parts of the report
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the report is written
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.json")]
    report: PathBuf,
}

/// The amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// About five minutes.
    Full,
    /// Under one minute.
    Quick,
}

impl Size {
    /// The number of rounds. In each round every side has its turn.
    fn rounds(self) -> usize {
        if self == Self::Full { 5 } else { 1 }
    }

    /// This run's share of `count` units of work.
    fn of(self, count: usize) -> usize {
        if self == Self::Full { count } else { count.div_ceil(10) }
    }
}

const PARTS: [&str; 16] = [
    "commands",
    "commands_r3",
    "commands_fsync",
    "hot_entity",
    "multi_event",
    "rejected",
    "projection",
    "saga",
    "end_to_end",
    "call",
    "own_code",
    "cold_load",
    "memory",
    "start",
    "testing",
    "swap",
];

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Run(arguments) => run(&arguments).await,
        Arguments::Instructions(arguments) => arguments.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Run) -> anyhow::Result<()> {
    if let Some(unknown) = arguments.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part {unknown:?}; there are {}", PARTS.join(", "));
    }
    let size = if arguments.quick { Size::Quick } else { Size::Full };
    let mut report = Report::default();
    for part in
        PARTS.iter().filter(|part| arguments.only.is_empty() || arguments.only.iter().any(|p| p == *part))
    {
        let began = Instant::now();
        measure(part, size, &mut report).await.with_context(|| format!("measuring {part}"))?;
        eprintln!("bench: {part} took {:.1} s", began.elapsed().as_secs_f64());
    }
    print!("{report}");
    let explained = explain::explain(&report);
    for line in &explained {
        println!("\n{line}");
    }
    if let Some(folder) = arguments.report.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(&report.json(&json!({}), &explained))?;
    fs::write(&arguments.report, text + "\n")
        .with_context(|| format!("writing {}", arguments.report.display()))
}

async fn measure(part: &str, size: Size, report: &mut Report) -> anyhow::Result<()> {
    match part {
        "commands" => parts::commands(report, size, Setup::File).await,
        "commands_r3" => parts::commands(report, size, Setup::Replicated).await,
        "commands_fsync" => parts::commands(report, size, Setup::Fsync).await,
        "hot_entity" => parts::hot_entity(report, size).await,
        "multi_event" => parts::multi_event(report, size).await,
        "rejected" => parts::rejected(report, size).await,
        "projection" => parts::projection(report, size).await,
        "saga" => parts::saga(report, size).await,
        "end_to_end" => parts::end_to_end(report, size).await,
        "call" => parts::call(report).await,
        "own_code" => parts::own_code(report, size).await,
        "cold_load" => parts::cold_load(report, size).await,
        "memory" => parts::memory(report, size).await,
        "start" => parts::start(report, size).await,
        "testing" => parts::testing(report, size).await,
        "swap" => Box::pin(parts::swap(report, size)).await,
        other => bail!("no part {other}"),
    }
}
