//! Starting and stopping: signals, exit codes, a server that is away.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

struct Pelton {
    child: Child,
    folder: TempDir,
}

impl Pelton {
    /// Starts it on a configuration without plugins, in a folder of its own.
    fn start(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("pelton.toml"), config).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
        command.args(arguments).current_dir(folder.path());
        for variable in
            ["PELTON_CONFIG", "PELTON_NATS_URL", "PELTON_LISTEN", "PELTON_LOG", "PELTON_LOG_FORMAT"]
        {
            command.env_remove(variable);
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
        if std::env::var_os("PELTON_NATS_SERVER").is_none() && tools.is_file() {
            command.env("PELTON_NATS_SERVER", tools);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("pelton starts");
        Self { child, folder }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Reads stderr until a line has this text. Answers the line.
    fn logs(&mut self, part: &str) -> String {
        let stderr = self.child.stderr.as_mut().expect("piped");
        lines_until(stderr, part)
    }

    fn says(&mut self, part: &str) -> String {
        let stdout = self.child.stdout.as_mut().expect("piped");
        lines_until(stdout, part)
    }

    /// Its exit code, and what is left of stderr.
    fn ended(&mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if begun.elapsed() > PATIENCE => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut rest = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut rest).expect("text");
        (status.code(), rest)
    }
}

impl Drop for Pelton {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Byte by byte, so that nothing behind the line is taken from whoever reads on.
fn lines_until(from: &mut impl Read, part: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while from.read(&mut byte).expect("readable") == 1 && byte != [b'\n'] {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(part) {
            return line;
        }
        assert!(!line.is_empty() || !seen.ends_with("\n\n"), "{part:?} was not said, but:\n{seen}");
        seen = seen + &line + "\n";
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("writable");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("an answer");
    status.trim_end().to_owned()
}

/// The address in a line that has a URL.
fn address(line: &str) -> String {
    line.split("http://").nth(1).expect("a URL").trim().to_owned()
}

const AWAY: &str = "[nats]\nurl = \"nats://127.0.0.1:1\"\n";

#[test]
fn a_server_that_is_away_is_waited_for_and_a_signal_ends_the_waiting() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut pelton = Pelton::start(AWAY, &["run"]);
        let line = pelton.logs("waiting for NATS");
        assert!(line.contains("nats://127.0.0.1:1"), "{line}");
        pelton.signal(signal);
        let (code, rest) = pelton.ended();
        assert_eq!(code, Some(0), "{rest}");
    }
}

#[test]
fn waiting_for_a_server_can_be_bounded() {
    let mut pelton = Pelton::start(&format!("{AWAY}connect-timeout = \"1s\"\n"), &["run"]);
    let (code, said) = pelton.ended();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("error: no NATS server at nats://127.0.0.1:1 within 1s"), "{said}");
}

#[test]
fn the_log_can_be_json() {
    let mut pelton = Pelton::start(AWAY, &["run", "--log-format", "json"]);
    let line = pelton.logs("waiting for NATS");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["urls"], "nats://127.0.0.1:1");
    pelton.signal(Signal::TERM);
    assert_eq!(pelton.ended().0, Some(0));
}

#[test]
fn dev_brings_its_own_server_and_takes_it_down_again() {
    let mut pelton = Pelton::start("", &["dev", "--listen", "127.0.0.1:0"]);
    let address = address(&pelton.says("Pelton"));
    assert_eq!(get(&address, "/healthz"), "HTTP/1.1 200 OK");
    assert_eq!(get(&address, "/readyz"), "HTTP/1.1 200 OK");
    let nats = pelton.says("nats://127.0.0.1:");
    let port =
        nats.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port").to_owned();
    pelton.signal(Signal::INT);
    let (code, rest) = pelton.ended();
    assert_eq!(code, Some(0), "{rest}");
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "the server still runs");
    assert!(pelton.folder.path().join(".pelton").is_dir(), "its data is kept");
}

#[test]
fn a_port_that_is_taken_is_a_failed_run() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let mut pelton = Pelton::start("", &["dev", "--listen", &listen]);
    let (code, said) = pelton.ended();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("cannot listen on {listen}")), "{said}");
}

#[test]
fn what_does_not_stop_in_time_is_said_and_a_second_signal_does_not_wait() {
    // Half a request: the connection stays open until its time is up.
    let half = |address: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").expect("writable");
        std::thread::sleep(Duration::from_millis(300));
        stream
    };
    let config = "[shutdown]\ndeadline = \"20s\"\n";
    let mut pelton = Pelton::start(config, &["dev", "--listen", "127.0.0.1:0"]);
    let _open = half(&address(&pelton.says("Pelton")));
    pelton.signal(Signal::TERM);
    pelton.logs("a second signal exits at once");
    pelton.signal(Signal::TERM);
    assert_eq!(pelton.ended().0, Some(143));
}

#[test]
fn n7_a_missing_nats_server_is_answered_with_the_command_that_gets_one() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("pelton.toml"), "").expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
    command.arg("dev").current_dir(folder.path()).env("PELTON_NATS_SERVER", "/nowhere/nats-server");
    let output = command.output().expect("pelton runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("nats-server is not at /nowhere/nats-server; `python3 -m pip install"), "{said}");
}

/// Runs another command in the folder of a running one.
fn beside(pelton: &Pelton, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
    command.args(arguments).current_dir(pelton.folder.path());
    for variable in ["PELTON_CONFIG", "PELTON_NATS_URL", "PELTON_LOG"] {
        command.env_remove(variable);
    }
    command.output().expect("pelton runs")
}

#[test]
fn n3_a_client_command_finds_the_server_of_a_running_dev() {
    let mut pelton = Pelton::start("", &["dev", "--listen", "127.0.0.1:0"]);
    pelton.says("Pelton");
    let url = pelton.says("nats://127.0.0.1:");
    let url = url.split_whitespace().nth(1).expect("a URL").to_owned();
    let listed = beside(&pelton, &["dlq", "list"]);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert_eq!(listed.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("the server of `pelton dev`: {url}")), "{said}");
    pelton.signal(Signal::INT);
    assert_eq!(pelton.ended().0, Some(0));
    // The store is still there, and nobody runs on it: the configured server is asked.
    fs::write(pelton.folder.path().join("pelton.toml"), AWAY).expect("a configuration");
    let listed = beside(&pelton, &["dlq", "list"]);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert_eq!(listed.status.code(), Some(4), "{said}");
    assert!(said.contains("nats://127.0.0.1:1"), "{said}");
}

#[test]
fn n3_a_silent_server_ends_a_client_command_with_what_to_do() {
    // It accepts, and never greets.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", silent.local_addr().expect("an address"));
    let mut pelton = Pelton::start("", &["dlq", "list", "--nats", &url]);
    let (code, said) = pelton.ended();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("say where it is with --nats") && said.contains(&url), "{said}");
}

#[test]
fn n9_dev_starts_a_server_that_died_again() {
    let mut pelton = Pelton::start("", &["dev", "--listen", "127.0.0.1:0"]);
    let address = address(&pelton.says("Pelton"));
    let pid = fs::read_to_string(pelton.folder.path().join(".pelton/nats-server.pid")).expect("a pid");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::KILL).expect("it runs");
    let line = pelton.logs("nats-server ended");
    assert!(line.contains("starting it again"), "{line}");
    pelton.logs("nats-server runs again");
    pelton.logs("the connection to NATS is up");
    assert_eq!(get(&address, "/readyz"), "HTTP/1.1 200 OK");
    pelton.signal(Signal::INT);
    let (code, rest) = pelton.ended();
    assert_eq!(code, Some(0), "{rest}");
}
