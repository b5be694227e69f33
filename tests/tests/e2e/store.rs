//! Plugins from the plugin store: pushed, activated, rolled back and removed, while two hosts decide.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton_tests::component::with_section;
use pelton_tests::http::{Answer, Request};
use pelton_tests::process::{Ended, Pelton};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::hostile::HANDLER;
use crate::hostile::guests::{handler, one_event};
use crate::house::{Host, House, eventually};

/// A house whose plugin `hostile` comes from the store.
pub(crate) async fn house() -> House {
    let house = House::open().await;
    house.configure(|text| text + &HANDLER.replace("component = \"hostile.wasm\"", "source = \"store\""));
    house
}

pub(crate) fn component(house: &House, name: &str, bytes: &[u8]) -> PathBuf {
    let file = house.config().with_file_name(format!("{name}.wasm"));
    std::fs::write(&file, bytes).expect("a file");
    file
}

/// Two versions: one accepts and changes nothing (200), the other says that it is done (201).
pub(crate) fn versions(house: &House) -> [PathBuf; 2] {
    let event = one_event(*b"done", 10);
    [
        component(house, "quiet", &handler(&[])),
        component(house, "done", &handler(&[("decide", event.as_str())])),
    ]
}

pub(crate) async fn plugin(house: &House, arguments: &[&str]) -> Ended {
    let folder = house.config().parent().expect("a folder").to_owned();
    let all = ["plugin"].iter().chain(arguments);
    let pelton = Pelton::start(&folder, all).expect("pelton starts");
    pelton.ended().await.expect("it ends")
}

pub(crate) async fn done(house: &House, arguments: &[&str]) -> String {
    let ended = plugin(house, arguments).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

pub(crate) async fn refused(house: &House, arguments: &[&str], expected: &str) {
    let ended = plugin(house, arguments).await;
    assert_ne!(ended.code, Some(0), "{arguments:?}: {}", ended.stdout);
    let said = ended.stdout + &ended.stderr;
    assert!(said.contains(expected), "{arguments:?} should say {expected:?}: {said}");
}

pub(crate) async fn push(house: &House, file: &Path, version: &str) {
    let file = file.display().to_string();
    done(house, &["push", "hostile", &file, "--version", version, "--by", "anna"]).await;
}

pub(crate) async fn send(host: &Host, id: &str, order: usize) -> Answer {
    let body = json!({ "id": id, "data": { "order": { "id": order } } }).to_string();
    host.send(&Request::put("/do", body).with("Prefer", "wait=30")).await
}

#[tokio::test]
async fn hosts_wait_for_a_version_run_it_switch_under_load_and_go_back() {
    let house = house().await;
    let [quiet, saying] = versions(&house);
    let waiting = [house.run(), house.run()];
    for host in &waiting {
        host.says("nothing was activated for the plugin hostile yet").await.expect("it says so");
    }
    push(&house, &quiet, "1").await;
    push(&house, &saying, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let [a, b] = waiting;
    let hosts = [Host::ready(a).await, Host::ready(b).await];
    assert_eq!(send(&hosts[0], "first", 9).await.status, 200);

    let (sent, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let load = async {
        let mut statuses = Vec::new();
        while !stop.is_cancelled() {
            let n = sent.fetch_add(1, Ordering::Relaxed);
            let answer = send(&hosts[n % 2], &format!("load-{n}"), n % 5).await;
            assert!([200, 201].contains(&answer.status), "{answer}");
            statuses.push(answer.status);
        }
        statuses
    };
    let switches = async {
        let said = done(&house, &["activate", "hostile@2", "--one-way"]).await;
        for expected in ["prepare", " ok ", "way back ok", "readers ok", "2 of 2 hosts run 2"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert_eq!(send(&hosts[1], "by-2", 9).await.status, 201, "whoever decides runs it");
        refused(&house, &["rollback", "hostile"], "--one-way").await;
        done(&house, &["activate", "hostile@1"]).await;
        assert_eq!(send(&hosts[1], "by-1", 9).await.status, 200);
        let said = done(&house, &["rollback", "hostile"]).await;
        assert!(said.contains("2 of 2 hosts run 2"), "{said}");
        assert!(
            said.contains("it decided 0 commands with events and ") && said.contains("which stand"),
            "{said}"
        );
        assert_eq!(send(&hosts[0], "by-2-again", 9).await.status, 201);
        stop.cancel();
    };
    let (statuses, ()) = tokio::join!(load, switches);
    assert!(statuses.contains(&200) && statuses.contains(&201), "both have decided: {statuses:?}");
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);

    let why = |what: &'static str| {
        let folder = house.config().parent().expect("a folder").to_owned();
        async move {
            let pelton = Pelton::start(&folder, ["why", what]).expect("pelton starts");
            let ended = pelton.ended().await.expect("it ends");
            (ended.code, ended.stdout + &ended.stderr)
        }
    };
    for what in ["by-2", "by-2:0"] {
        let (code, said) = why(what).await;
        for expected in ["do for order.9", "accepted: done v1", "by hostile@2 (sha256:", "a client sent it"] {
            assert!(code == Some(0) && said.contains(expected), "{expected}: {said}");
        }
    }
    let (code, said) = why("order.9").await;
    for expected in
        ["accepted: command first, decided by hostile@1", "done v1: command by-2, decided by hostile@2"]
    {
        assert!(code == Some(0) && said.contains(expected), "{expected}: {said}");
    }
    let (code, said) = why("nobody").await;
    assert!(code == Some(4) && said.contains("is not an entity of this configuration"), "{said}");

    // A host that starts later runs what runs.
    let later = house.host().await;
    assert_eq!(send(&later, "later", 9).await.status, 201);
    let history = done(&house, &["history", "hostile"]).await;
    let acts: Vec<&str> =
        ["pushed 1", "pushed 2", "activated 1", "activated 2", "activated 1", "rolled back 2"].into();
    let lines: Vec<&str> = history.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(lines.len(), acts.len(), "{history}");
    for (line, act) in lines.iter().zip(acts) {
        assert!(line.contains(act), "{act}: {history}");
    }
    for host in hosts.into_iter().chain([later]) {
        host.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_is_switched() {
    let house = house().await;
    let [quiet, saying] = versions(&house);
    push(&house, &quiet, "1").await;
    push(&house, &quiet, "1").await;
    done(&house, &["activate", "hostile"]).await;
    let host = house.host().await;
    let text = component(&house, "text", b"no component");
    let text = text.display().to_string();
    let file = saying.display().to_string();
    push(&house, &saying, "2").await;
    for (arguments, expected) in [
        (&["push", "hostile", text.as_str()][..], "cannot be pushed"),
        (&["push", "nobody", file.as_str()], "the configuration has no plugin nobody"),
        (&["push", "booking", file.as_str()], "source = \"store\""),
        (&["activate", "booking"], "from its file"),
        (&["activate", "hostile@3"], "has no hostile@3; it has 1, 2"),
        (&["activate", "hostile@sha256:00"], "has no hostile@sha256:00"),
        (&["activate", "hostile@2", "--min-ready", "2"], "1 of 1 hosts are ready, and 2 have to be"),
        (&["rollback", "hostile"], "is the first version"),
    ] {
        refused(&house, arguments, expected).await;
    }
    let said = done(&house, &["activate", "hostile@2", "--dry-run"]).await;
    assert!(said.contains("nothing was switched"), "{said}");
    let said = done(&house, &["activate", "hostile@1"]).await;
    assert!(said.contains("already"), "{said}");
    assert_eq!(send(&host, "still", 1).await.status, 200);
    let shown: Value =
        serde_json::from_str(&done(&house, &["show", "hostile", "--json"]).await).expect("JSON");
    assert_eq!(shown["activation"]["runs"]["version"], "1");
    assert_eq!(shown["components"].as_array().map(Vec::len), Some(2), "a component is there once");
    // What runs stays, and so do the last ones.
    let said = done(&house, &["gc", "--keep", "0", "--dry-run"]).await;
    assert!(said.contains("would remove hostile@2") && !said.contains("hostile@1"), "{said}");
    done(&house, &["gc", "--keep", "0"]).await;
    refused(&house, &["activate", "hostile@2"], "it has 1").await;
    host.stop().await;
}

/// A host whose own settings do not let the version run goes on with the one that it has, is not ready, and says why.
#[tokio::test]
async fn a_host_that_cannot_run_the_version_says_why_and_is_not_ready() {
    let house = house().await;
    let [quiet, saying] = versions(&house);
    push(&house, &quiet, "1").await;
    push(&house, &saying, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    // The operator's configuration is another one by now.
    let limits = "[plugins.hostile.limits]\ncomponent-bytes = \"64KiB\"\n";
    house.configure(|text| {
        text + &HANDLER.replace("component = \"hostile.wasm\"", "source = \"store\"") + limits
    });
    let small = house.host().await;
    let padded = component(
        &house,
        "large",
        &with_section(&handler(&[("decide", &one_event(*b"done", 10))]), "x", 100_000),
    );
    house.configure(|text| text + &HANDLER.replace("component = \"hostile.wasm\"", "source = \"store\""));
    push(&house, &padded, "3").await;
    refused(&house, &["activate", "hostile@3"], "1 of 2 hosts are ready").await;
    let said = done(&house, &["activate", "hostile@3", "--min-ready", "1"]).await;
    assert!(said.contains("1 of 2 hosts run 3"), "{said}");
    eventually("one host is not ready", async || {
        let answer = small.get("/readyz").await;
        anyhow::ensure!(answer.status == 503 && answer.body.contains("cannot run 3"), "{answer}");
        Ok(())
    })
    .await;
    assert_eq!(host.get("/readyz").await.status, 200);
    let shown = done(&house, &["show", "hostile"]).await;
    assert!(shown.contains("unfit") && shown.contains("component-bytes"), "{shown}");
    done(&house, &["activate", "hostile@1"]).await;
    assert_eq!(small.get("/readyz").await.status, 200);
    small.stop().await;
    host.stop().await;
}

/// What a rollback needs is in the host, so it does not depend on the store.
#[tokio::test]
async fn a_rollback_fetches_nothing() {
    let house = house().await;
    let [quiet, saying] = versions(&house);
    push(&house, &quiet, "1").await;
    push(&house, &saying, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    done(&house, &["activate", "hostile@2", "--one-way"]).await;
    done(&house, &["activate", "hostile@1"]).await;
    assert_eq!(send(&host, "by-1", 9).await.status, 200);
    let streams = house.streams().await;
    let components = pelton_nats::subjects::component_stream();
    streams
        .jetstream()
        .get_stream(&components)
        .await
        .expect("it is there")
        .purge()
        .await
        .expect("it is empty");
    // The operator's program cannot load it either, and says so after the switch.
    plugin(&house, &["rollback", "hostile"]).await;
    let sent = AtomicUsize::new(0);
    eventually("the host goes back", async || {
        let answer = send(&host, &format!("back-{}", sent.fetch_add(1, Ordering::Relaxed)), 9).await;
        anyhow::ensure!(answer.status == 201, "{answer}");
        Ok(())
    })
    .await;
    host.stop().await;
}
