//! Versions of the handler's plugin that take each other's place while the faults happen: equal ones under other digests, and
//! candidates that must not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use fastrand::Rng;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::broken::{Broken, Stopped};
use super::{Counts, add};
use crate::component::with_section;
use crate::place;
use crate::process::inherit_no_settings;

/// The plugin, as the configuration names it.
const PLUGIN: &str = "order";
/// The wait between two switches, in milliseconds.
const BETWEEN_MS: std::ops::Range<u64> = 100..1_500;
/// The longest time of one command. A server may be away meanwhile.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a switch waits for hosts.
const WAIT: &str = "2s";
/// One candidate in so many must not run.
const BROKEN_OF: u32 = 5;

/// Pushes and activates versions.
#[derive(Debug)]
pub(super) struct Swaps {
    random: Rng,
    folder: PathBuf,
    config: PathBuf,
    servers: String,
    number: u32,
    stopped: Stopped,
}

impl Swaps {
    /// `config` is the configuration of a host; `servers` are reached without proxies.
    pub(super) fn new(random: Rng, folder: &Path, config: PathBuf, servers: &[String]) -> Self {
        Self {
            random,
            folder: folder.to_owned(),
            config,
            servers: servers.join(","),
            number: 0,
            stopped: Stopped::default(),
        }
    }

    /// Which steps have stopped which candidates.
    pub(super) fn stopped(&self) -> &Stopped {
        &self.stopped
    }

    /// Has the hosts, which wait for it, run a first version.
    pub(super) async fn begin(&mut self, counts: &Counts) -> anyhow::Result<()> {
        let file = self.version()?;
        self.push(&file).await.and_then(succeeded).context("pushing the first version")?;
        self.pelton(&["activate", PLUGIN])
            .await
            .and_then(succeeded)
            .context("activating the first version")?;
        add(&counts.swaps, 1);
        Ok(())
    }

    /// Switches until it is told to stop. Returns the candidates that were activated and must not run.
    pub(super) async fn run(
        &mut self,
        counts: &Counts,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<String>> {
        let mut violations = Vec::new();
        while !stop.is_cancelled() {
            sleep(Duration::from_millis(self.random.u64(BETWEEN_MS))).await;
            if self.random.u32(0..BROKEN_OF) == 0 {
                let broken = Broken::ALL[self.random.usize(0..Broken::ALL.len())];
                violations.extend(self.tries(broken, counts).await?);
                continue;
            }
            let done = match self.random.u32(0..4) {
                0 => self.pelton(&["rollback", PLUGIN, "--wait", WAIT]).await?,
                _ => {
                    let file = self.version()?;
                    self.push(&file).await?;
                    self.activate(PLUGIN, &[]).await?
                }
            };
            // While a server is away nothing can be switched.
            add(&counts.swaps, u64::from(done.is_some_and(|output| output.status.success())));
        }
        Ok(violations)
    }

    /// Tries a candidate that must not run. Returns what is wrong if it was activated.
    async fn tries(&mut self, broken: Broken, counts: &Counts) -> anyhow::Result<Option<String>> {
        let good = fs::read(self.version()?)?;
        let file = self.folder.join("broken.wasm");
        fs::write(&file, broken.candidate(&good)?)?;
        let pushed = self.push(&file).await?;
        let activated = match &pushed {
            Some(output) if output.status.success() => {
                let version = format!("{PLUGIN}@{}", self.number);
                let one_way: &[_] = if broken.is_one_way() { &["--one-way"] } else { &[] };
                self.activate(&version, one_way).await?
            }
            _ => None,
        };
        if activated.as_ref().is_some_and(|output| output.status.success()) && !broken.may_be_on_trial() {
            return Ok(Some(format!("{broken:?} was activated")));
        }
        // While a server is away nothing is tried.
        if let Some(by) = [pushed, activated].iter().flatten().find_map(stopped_by) {
            self.stopped.add(broken, &by);
            add(&counts.refused, 1);
        }
        Ok(None)
    }

    async fn push(&mut self, file: &Path) -> anyhow::Result<Option<Output>> {
        self.number += 1;
        let (file, version) = (file.display().to_string(), self.number.to_string());
        self.pelton(&["push", PLUGIN, &file, "--version", &version]).await
    }

    /// As soon as one host is ready: others are killed or stand still.
    async fn activate(&self, version: &str, more: &[&str]) -> anyhow::Result<Option<Output>> {
        self.pelton(&[&["activate", version, "--min-ready", "1", "--wait", WAIT], more].concat()).await
    }

    /// The component under another digest.
    fn version(&self) -> anyhow::Result<PathBuf> {
        let component = fs::read(place::plugins()?.join("payment-order.wasm"))?;
        let file = self.folder.join("version.wasm");
        fs::write(&file, with_section(&component, &format!("storm-{}", self.number), 0))?;
        Ok(file)
    }

    /// Runs `pelton plugin`. `None`: it took too long.
    async fn pelton(&self, arguments: &[&str]) -> anyhow::Result<Option<Output>> {
        let mut command = Command::new(place::pelton()?);
        inherit_no_settings(&mut command);
        command.arg("plugin").args(arguments).arg("--config").arg(&self.config);
        command.args(["--nats", &self.servers]).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        Ok(timeout(TIMEOUT, output).await.ok().transpose()?)
    }
}

/// The step that has stopped a candidate, by what the operator was told. `None`: nothing has, or a server was away.
fn stopped_by(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("cannot be pushed") {
        return Some("push".to_owned());
    }
    let (_, why) = said.split_once("was not switched: ")?;
    let step = why.split_once(": ").map(|(step, _)| step).filter(|step| step.len() < 30);
    Some(step.unwrap_or("the hosts").to_owned())
}

fn succeeded(output: Option<Output>) -> anyhow::Result<()> {
    let output = output.context("it took too long")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
