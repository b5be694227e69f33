//! `make bench-instructions`: counts the instructions of a command in Pelton's own code, and compares them with the
//! record.
//!
//! Times vary with the machine and its other load; instruction counts hardly do. The figure is the difference between
//! two runs of `bench-inside commands`, of which one handles more commands for the same live entities. So neither the
//! start of the program nor the creation of instances counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use pelton_tests::place;
use serde_json::{Map, Value, json};

use crate::side::beside;

/// The largest allowed ratio of the count to the record.
const ALLOWED: f64 = 1.1;
/// The live entities of a run. `SHORT` and `LONG` are the commands of each in the short and in the long run. Every
/// entity reserves 4 GiB of addresses, of which valgrind has little more than a hundred.
const ENTITIES: u64 = 10;
const SHORT: u64 = 10;
const LONG: u64 = 50;

#[derive(Debug, Args)]
pub(crate) struct Instructions {
    /// Put what is counted on record
    #[arg(long)]
    record: bool,
}

/// The counter of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    /// valgrind's callgrind, which runs the program on a simulated processor. Its counts are the same everywhere.
    Callgrind,
    /// The processor's own counter, read through perf.
    Perf,
}

impl Instructions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let counter = Counter::find()?;
        // Compiles the component, so that the counted runs find it compiled.
        handle(Command::new(beside("bench-inside")?), SHORT)?;
        let more = ENTITIES * (LONG - SHORT);
        let counted = (counter.count(LONG)?.saturating_sub(counter.count(SHORT)?)) / more;
        let file = place::root().join("bench/instructions.json");
        let mut on_record = read(&file)?;
        let target = format!("{}-{}-{}", std::env::consts::ARCH, std::env::consts::OS, counter.name());
        if self.record {
            println!("{counted} instructions a command, now on record for {target}");
            on_record.insert(target, json!(counted));
            return fs::write(&file, serde_json::to_string_pretty(&on_record)? + "\n")
                .context("writing the record");
        }
        let Some(recorded) = on_record.get(&target).and_then(Value::as_u64) else {
            bail!(
                "{counted} instructions a command, and nothing on record for {target}: run `make bench-instructions RECORD=1`"
            );
        };
        println!("{counted} instructions a command, {recorded} on record for {target}");
        verdict(counted, recorded)
    }
}

/// Compares a count with the record.
fn verdict(counted: u64, recorded: u64) -> anyhow::Result<()> {
    let ratio = counted as f64 / recorded as f64;
    ensure!(
        ratio <= ALLOWED,
        "a command takes {ratio:.2} times the instructions that are on record; find out what made it heavier, or, where \
         that is worth its price, run `make bench-instructions RECORD=1` and say why in the commit"
    );
    if ratio < 1.0 / ALLOWED {
        println!("that is much lighter: `make bench-instructions RECORD=1` keeps it so");
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no JSON object", file.display()))
}

/// Runs `bench-inside`, or the program that runs it, to handle commands.
fn handle(mut program: Command, commands: u64) -> anyhow::Result<Output> {
    program
        .arg("commands")
        .arg(place::plugins()?)
        .args([ENTITIES, commands].map(|number| number.to_string()));
    let output = program.stdin(Stdio::null()).output().with_context(|| format!("starting {program:?}"))?;
    ensure!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(output)
}

impl Counter {
    fn find() -> anyhow::Result<Self> {
        let works = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output.ok().map(|output| {
                String::from_utf8_lossy(&output.stderr).into_owned() + &output.status.to_string()
            })
        };
        if works("valgrind", &["--version"]).is_some() {
            return Ok(Self::Callgrind);
        }
        match works("perf", &["stat", "-x,", "-e", "instructions:u", "true"]) {
            Some(said) if perf_count(&said).is_some() => Ok(Self::Perf),
            Some(said) => bail!(
                "there is no valgrind, and perf cannot count instructions here ({}); install valgrind (apt-get install \
                 valgrind), or allow perf to count (sysctl kernel.perf_event_paranoid=2; a virtual machine may have \
                 no counters at all)",
                said.trim()
            ),
            None => bail!("neither valgrind nor perf is on PATH; install one with: apt-get install valgrind"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Callgrind => "callgrind",
            Self::Perf => "perf",
        }
    }

    /// The instructions of a whole run.
    fn count(self, commands: u64) -> anyhow::Result<u64> {
        let inside: PathBuf = beside("bench-inside")?;
        let mut program = match self {
            Self::Callgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
                valgrind
            }
            Self::Perf => {
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x,", "-e", "instructions:u"]);
                perf
            }
        };
        program.arg(inside);
        let output = handle(program, commands)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let count = match self {
            Self::Callgrind => callgrind_count(&said),
            Self::Perf => perf_count(&said),
        };
        count.with_context(|| format!("{} says no count, but:\n{said}", self.name()))
    }
}

/// `==123== Collected : 4567`
fn callgrind_count(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

/// `4567,,instructions:u,…`
fn perf_count(said: &str) -> Option<u64> {
    said.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_heavier_is_too_heavy() {
        assert!(verdict(1_100, 1_000).is_ok());
        assert!(verdict(500, 1_000).is_ok());
        let error = verdict(1_101, 1_000).unwrap_err().to_string();
        assert!(error.contains("1.10 times"), "{error}");
    }

    #[test]
    fn counts_are_read_where_there_are_any() {
        assert_eq!(callgrind_count("==7== \n==7== Collected : 4567\n==7== "), Some(4567));
        assert_eq!(callgrind_count("==7== Events    : Ir"), None);
        assert_eq!(perf_count("4567,,instructions:u,1,100.00,,\n"), Some(4567));
        assert_eq!(perf_count("<not supported>,,instructions:u,0,100.00,,\n"), None);
    }
}
