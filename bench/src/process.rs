//! Programs as processes of their own: start, wait, and the kernel's counters.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pelton_tests::process::inherit_no_settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The longest time for a program to be ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait between two checks of its output.
const LOOK: Duration = Duration::from_millis(1);
/// The number of last lines that an error shows.
const SHOWN_LINES: usize = 20;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a folder, with its output in `<its name>.log`, and waits until it has written `ready`. The
    /// program inherits none of Pelton's settings.
    pub(crate) async fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let name = program.file_name().unwrap_or(OsStr::new("program"));
        let log = folder.join(name).with_extension("log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = Command::new(program);
        inherit_no_settings(&mut command);
        command.args(arguments).current_dir(folder).env("NO_COLOR", "1").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let pid = child.id().context("it has ended already")?;
        let mut process = Self { child, pid, log };
        let deadline = Instant::now() + PATIENCE;
        while !process.said().contains("ready") {
            process.check()?;
            if Instant::now() > deadline {
                bail!("it is not ready after {PATIENCE:?}:\n{}", process.last_lines());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(process)
    }

    /// Checks that the program still runs.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it has ended with {status}:\n{}", self.last_lines()),
        }
    }

    /// The address of the gateway, if the program is a host.
    pub(crate) fn address(&self) -> anyhow::Result<String> {
        let said = self.said();
        let (_, rest) = said.split_once("ready: http://").context("it does not say where it listens")?;
        Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// The processor time that the program has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.pid)
    }

    /// The resident memory of the program, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// What it holds of the machine.
    pub(crate) fn holds(&self) -> anyhow::Result<Holds> {
        let of = |part: &str| format!("/proc/{}/{part}", self.pid);
        Ok(Holds {
            resident_bytes: self.resident_bytes()?,
            mappings: fs::read_to_string(of("maps"))?.lines().count(),
            threads: fs::read_dir(of("task"))?.count(),
            descriptors: fs::read_dir(of("fd"))?.count(),
        })
    }

    /// Stops the program until [`Process::let_go`]. On return every thread is stopped.
    pub(crate) async fn hold(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.stands_still()? {
            if Instant::now() > deadline {
                bail!("it does not stand still after {PATIENCE:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn stands_still(&self) -> anyhow::Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            if fields(&thread?.path().join("stat"))?.first().is_none_or(|state| state != "T") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn let_go(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills the program after its measurement.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.check()?;
        self.child.kill().await.context("killing it")
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, signal).context("signalling it")
    }

    fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub(crate) fn last_lines(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// What a program holds of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holds {
    pub(crate) resident_bytes: u64,
    pub(crate) mappings: usize,
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
}

/// The processor time of a process, in user mode and in the kernel. The kernel counts it in hundredths of a second.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let fields = fields(Path::new(&format!("/proc/{pid}/stat")))?;
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (user, kernel) = ticks(11).zip(ticks(12)).context("no processor times")?;
    let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
    Ok(Duration::from_secs_f64((f64::from(user) + f64::from(kernel)) / per_second))
}

/// The kernel's statistics of a process or thread, from its state on.
fn fields(stat: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(stat)?;
    // The name stands in parentheses and may contain any character, so the fields are counted from its end.
    let (_, fields) = text.rsplit_once(')').context("no process statistics")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}
