//! A host as a process that is killed and started again throughout a run.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use fastrand::Rng;
use tokio::process::{Child, Command};

use crate::place;
use crate::process::inherit_no_settings;

#[cfg(debug_assertions)]
use pelton_nats::failpoint::{NAMES, VARIABLE};
/// A release build has no failpoints.
#[cfg(not(debug_assertions))]
const NAMES: [&str; 0] = [];
#[cfg(not(debug_assertions))]
const VARIABLE: &str = "PELTON_FAILPOINT";

/// The number of starts out of ten that have a failpoint.
const ARMED_OF_TEN: u32 = 7;
/// The lines of a log that a violation shows.
const LOG_TAIL_LINES: usize = 12;

/// One host, running or not.
#[derive(Debug)]
pub(super) struct Host {
    folder: PathBuf,
    number: usize,
    /// The port of its gateway, the same on every start.
    pub(super) port: u16,
    servers: Vec<String>,
    /// Chooses failpoints. Each host has its own, so that the time of its death does not change what happens to others.
    random: Rng,
    child: Option<Child>,
    failpoint: Option<String>,
}

/// How a process ended that was not killed from outside.
#[derive(Debug)]
pub(super) enum End {
    /// At its failpoint.
    Failpoint,
    /// In some other way, with the end of its log.
    Unexpected(String),
}

impl Host {
    pub(super) fn new(folder: &Path, number: usize, port: u16, servers: Vec<String>, random: Rng) -> Self {
        Self { folder: folder.to_owned(), number, port, servers, random, child: None, failpoint: None }
    }

    /// The path of the host's configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join(format!("host-{}.toml", self.number))
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("host-{}.log", self.number))
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    pub(super) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts the host, with a failpoint if `armed` allows it.
    pub(super) fn start(&mut self, armed: bool) -> anyhow::Result<()> {
        let dice =
            (self.random.u32(0..10), self.random.usize(..), self.random.u64(5..150), self.random.u32(..));
        let chosen = armed && dice.0 < ARMED_OF_TEN;
        let name = NAMES.get(dice.1 % NAMES.len().max(1)).filter(|_| chosen);
        self.failpoint = name.map(|name| format!("{name}:1in={}:seed={}", dice.2, dice.3));
        let log = OpenOptions::new().create(true).append(true).open(self.log()).context("no log")?;
        let mut command = Command::new(place::pelton()?);
        inherit_no_settings(&mut command);
        command.arg("run").arg("--config").arg(self.config());
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--nats", &self.servers.join(",")]);
        command.env("NO_COLOR", "1");
        command.envs(self.failpoint.iter().map(|failpoint| (VARIABLE, failpoint)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().context("pelton does not start")?);
        Ok(())
    }

    /// Kills the host without a warning (SIGKILL).
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await.context("cannot kill a host"),
            None => Ok(()),
        }
    }

    /// Whether the host has ended by itself since the last call.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<End>> {
        use std::os::unix::process::ExitStatusExt;
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait().context("cannot wait for a host")? else { return Ok(None) };
        self.child = None;
        Ok(Some(match self.failpoint.take() {
            Some(_) if status.signal() == Some(9) => End::Failpoint,
            _ => End::Unexpected(format!("host {} ended with {status}:\n{}", self.number, self.log_tail())),
        }))
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Truncates the log, so that long runs do not fill the disk.
    pub(super) fn forget_log(&self) -> anyhow::Result<()> {
        // The process goes on writing at the end of the file.
        File::options().write(true).open(self.log())?.set_len(0).context("cannot cut a log")
    }
}
