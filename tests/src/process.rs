//! `pelton` as a process of its own: start, output, signals, end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

pub use rustix::process::Signal;

use crate::{PATIENCE, place};

/// Settings that a shell may have and a test must not inherit.
const SETTINGS: [&str; 5] =
    ["PELTON_CONFIG", "PELTON_NATS_URL", "PELTON_LISTEN", "PELTON_LOG", "PELTON_LOG_FORMAT"];
/// The number of last lines that an error shows.
const SHOWN_LINES: usize = 30;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Pelton {
    child: Child,
    said: Arc<Mutex<Vec<Line>>>,
    changes: watch::Receiver<()>,
    readers: Vec<JoinHandle<()>>,
}

/// The stream that a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The result of the command.
    Stdout,
    /// The log and errors.
    Stderr,
}

#[derive(Debug, Clone)]
struct Line {
    output: Output,
    text: String,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code. `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

/// Has a program inherit none of Pelton's settings.
pub fn inherit_no_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PELTON_")) {
        command.env_remove(name);
    }
}

impl Pelton {
    /// Starts `pelton` with these arguments in a folder.
    pub fn start<A: AsRef<OsStr>>(
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        Self::start_with(folder, arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_with<A: AsRef<OsStr>>(
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let program = place::pelton()?;
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(folder).env("NO_COLOR", "1");
        for setting in SETTINGS {
            command.env_remove(setting);
        }
        command.envs(place::nats_server().map(|server| (place::NATS_SERVER, server)));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (changed, changes) = watch::channel(());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(read(stdout, Output::Stdout, said.clone(), changed.clone())));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(read(stderr, Output::Stderr, said.clone(), changed)));
        }
        Ok(Self { child, said, changes, readers })
    }

    /// Waits for a line that contains this text, and returns the first.
    pub async fn says(&self, part: &str) -> anyhow::Result<String> {
        let mut changes = self.changes.clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Marked before the lines are searched, so that a line that comes meanwhile is noticed.
            changes.mark_unchanged();
            let line =
                self.lines().iter().find(|line| line.text.contains(part)).map(|line| line.text.clone());
            if let Some(line) = line {
                return Ok(line);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => bail!("pelton ended and did not say {part:?}, but:\n{}", self.last_lines()),
                Err(_) => {
                    bail!("pelton did not say {part:?} within {PATIENCE:?}, but:\n{}", self.last_lines())
                }
            }
        }
    }

    /// The address of the gateway, once it listens.
    pub async fn address(&self) -> anyhow::Result<String> {
        self.url("http://").await
    }

    /// The URL of the NATS server that `pelton dev` has started.
    pub async fn nats_url(&self) -> anyhow::Result<String> {
        self.url("nats://").await.map(|address| format!("nats://{address}"))
    }

    async fn url(&self, scheme: &str) -> anyhow::Result<String> {
        let line = self.says(&format!("{scheme}127.0.0.1:")).await?;
        let rest = line.split(scheme).nth(1).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).unwrap_or(rest.len());
        Ok(rest[..end].to_owned())
    }

    /// Everything that the process has written to this stream so far.
    #[must_use]
    pub fn said(&self, output: Output) -> String {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| line.output == output)
            .flat_map(|line| [line.text.as_str(), "\n"])
            .collect()
    }

    /// The end of what the process has written, for an error.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let lines = self.lines();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        shown.iter().flat_map(|line| ["  | ", line.text.as_str(), "\n"]).collect()
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.context("pelton has ended already")?;
        kill_process(pid, signal).context("cannot signal pelton")
    }

    /// Waits for the end of the process.
    pub async fn ended(mut self) -> anyhow::Result<Ended> {
        let deadline = Instant::now() + PATIENCE;
        let Ok(status) = timeout_at(deadline, self.child.wait()).await else {
            bail!("pelton did not end within {PATIENCE:?}:\n{}", self.last_lines());
        };
        let status = status.context("cannot wait for pelton")?;
        for reader in std::mem::take(&mut self.readers) {
            timeout_at(deadline, reader).await.context("something keeps pelton's output open")??;
        }
        let (stdout, stderr) = (self.said(Output::Stdout), self.said(Output::Stderr));
        Ok(Ended { code: status.code(), stdout, stderr })
    }

    /// Stops the process (SIGTERM) and waits for its end.
    pub async fn stop(self) -> anyhow::Result<Ended> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// Kills the process without a warning (SIGKILL), as a crash would.
    pub async fn kill(self) -> anyhow::Result<Ended> {
        self.signal(Signal::KILL)?;
        self.ended().await
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads lines until the end. Bytes that are not UTF-8 are replaced.
async fn read(
    from: impl AsyncRead + Unpin,
    output: Output,
    said: Arc<Mutex<Vec<Line>>>,
    changed: watch::Sender<()>,
) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes).await.is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        said.lock().unwrap_or_else(PoisonError::into_inner).push(Line { output, text });
        changed.send_replace(());
        bytes.clear();
    }
}
