//! A nats-server of our own never outlives its owner, and a leftover of an earlier owner is stopped.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pelton_nats::server::{Options, Server, ServerError};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{TestServer, binary, soon};

fn options(dir: &Path) -> Options {
    Options { binary: binary(), ..Options::new(dir) }
}

/// A child that has ended and was not waited for is still in the process table, but does not run.
fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

async fn until_gone(pid: u32) {
    soon(async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_keeps_its_port_and_its_data_and_ends_with_its_owner() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(options(dir.path())).await.unwrap();
    let port = server.port();
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    let pid = server.pid().unwrap();
    drop(server);
    until_gone(pid).await;
}

#[tokio::test]
async fn two_owners_cannot_share_a_directory() {
    let dir = TempDir::new().unwrap();
    let _first = Server::start(options(dir.path())).await.unwrap();
    let error = Server::start(options(dir.path())).await.unwrap_err();
    assert!(matches!(error, ServerError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_stopped_first() {
    let dir = TempDir::new().unwrap();
    let mut first = Server::start(options(dir.path())).await.unwrap();
    let port = first.port();
    first.stop().await.unwrap();
    drop(first);
    // As if owner and watcher had been killed together: the server runs, and the directory has no owner.
    let program = binary().unwrap_or_else(|| std::env::var_os("PELTON_NATS_SERVER").unwrap().into());
    let mut left = Command::new(program)
        .arg("--config")
        .arg(dir.path().join("nats-server.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let left_pid = left.id().unwrap();
    let pid_file = dir.path().join("nats-server.pid");
    soon(async {
        while std::fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() != left_pid.to_string()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let reaper = tokio::spawn(async move { left.wait().await });
    let server = Server::start(Options { port, ..options(dir.path()) }).await.unwrap();
    assert_eq!(server.port(), port);
    soon(reaper).await.unwrap().unwrap();
}

/// Names the directory in which a copy of this test binary starts a server. It reports the server's pid and waits to be
/// killed.
const OWNER: &str = "PELTON_TEST_OWNER";

#[tokio::test]
async fn a_server_ends_when_its_owner_is_killed() {
    if let Some(dir) = std::env::var_os(OWNER) {
        let server = Server::start(options(Path::new(&dir))).await.unwrap();
        std::fs::write(Path::new(&dir).join("told"), server.pid().unwrap().to_string()).unwrap();
        std::future::pending::<()>().await;
    }
    let dir = TempDir::new().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_server_ends_when_its_owner_is_killed"])
        .env(OWNER, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let told = dir.path().join("told");
    let pid = soon(async {
        loop {
            match std::fs::read_to_string(&told) {
                Ok(text) if !text.is_empty() => break text.parse().unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert!(runs(pid));
    owner.kill().await.unwrap();
    until_gone(pid).await;
    Server::start(options(dir.path())).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_the_program_is_said() {
    let dir = TempDir::new().unwrap();
    let check = async |binary: &str, part: &str| {
        let error = Server::start(Options { binary: Some(binary.into()), ..Options::new(dir.path()) })
            .await
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    check("/nowhere/nats-server", "nats-server is not at /nowhere/nats-server").await;
    check("/bin/echo", "2.15.1 or later is needed").await;

    let broken = Options { extra_config: "this is no { configuration".into(), ..options(dir.path()) };
    let error = Server::start(broken).await.unwrap_err().to_string();
    assert!(error.contains("it ended with") && error.contains("nats-server.log"), "{error}");
    Server::start(options(dir.path())).await.unwrap();
}

#[tokio::test]
async fn syncing_always_is_passed_on() {
    let server =
        TestServer::start_with(|options| Options { sync_interval: Some("always".into()), ..options }).await;
    let nats = server.connect().await;
    let store = crate::entities::store(&nats, pelton_nats::StoreSettings::default()).await;
    crate::entities::Writer::new(&store, "1").append("c1", 1).await.unwrap();
    store.close().await;
}
