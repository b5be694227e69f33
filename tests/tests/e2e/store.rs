//! Plugins from the plugin store: pushed, activated, rolled back and removed, while two hosts decide.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton_tests::component::with_section;
use pelton_tests::http::{Answer, Request};
use pelton_tests::process::{Ended, Pelton};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::direct::{binary, publish};
use crate::hostile::HANDLER;
use crate::hostile::guests::{decided, handler, one_event, projection};
use crate::house::{Host, House, eventually};

/// A house whose plugin `hostile` comes from the store.
async fn house() -> House {
    let house = House::open().await;
    house.configure(|text| text + &HANDLER.replace("component = \"hostile.wasm\"", "source = \"store\""));
    house
}

fn component(house: &House, name: &str, bytes: &[u8]) -> PathBuf {
    let file = house.config().with_file_name(format!("{name}.wasm"));
    std::fs::write(&file, bytes).expect("a file");
    file
}

/// Two versions: one accepts and changes nothing (200), the other says that it is done (201).
fn versions(house: &House) -> [PathBuf; 2] {
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

async fn refused(house: &House, arguments: &[&str], expected: &str) {
    let ended = plugin(house, arguments).await;
    assert_ne!(ended.code, Some(0), "{arguments:?}: {}", ended.stdout);
    let said = ended.stdout + &ended.stderr;
    assert!(said.contains(expected), "{arguments:?} should say {expected:?}: {said}");
}

async fn push(house: &House, file: &Path, version: &str) {
    let file = file.display().to_string();
    done(house, &["push", "hostile", &file, "--version", version, "--by", "anna"]).await;
}

async fn send(host: &Host, id: &str, order: usize) -> Answer {
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

/// The version before decides what the new one breaks, until all hosts have gone back to it.
#[tokio::test]
async fn a_version_that_breaks_is_taken_back_by_itself_and_no_caller_sees_it() {
    let house = house().await;
    let [quiet, _] = versions(&house);
    let broken = component(&house, "broken", &handler(&[("decide", "(unreachable)")]));
    push(&house, &quiet, "1").await;
    push(&house, &broken, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let hosts = [house.host().await, house.host().await];
    // Nothing was sent yet, so the gate has nothing to try it on.
    done(&house, &["activate", "hostile@2"]).await;
    let (sent, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let load = async {
        while !stop.is_cancelled() {
            let n = sent.fetch_add(1, Ordering::Relaxed);
            let answer = send(&hosts[n % 2], &format!("load-{n}"), n % 5).await;
            assert_eq!(answer.status, 200, "{answer}");
        }
    };
    let switches = async {
        eventually("the hosts go back", async || {
            let history = done(&house, &["history", "hostile"]).await;
            let by_itself = "rolled back because the version after it broke";
            anyhow::ensure!(history.contains(by_itself), "{history}");
            Ok(())
        })
        .await;
        eventually("every host runs the first version", async || {
            let shown = done(&house, &["show", "hostile", "--json"]).await;
            let shown: Value = serde_json::from_str(&shown)?;
            anyhow::ensure!(shown["activation"]["runs"]["version"] == "1", "{shown}");
            Ok(())
        })
        .await;
        stop.cancel();
    };
    tokio::join!(load, switches);
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    refused(&house, &["rollback", "hostile"], "is the first version").await;
    // By now there are commands that it breaks on, and the version that runs does not.
    refused(&house, &["activate", "hostile@2"], "smoke: breaks on").await;
    for host in hosts {
        host.stop().await;
    }
}

/// The configuration has a command before there is a version that takes it.
#[tokio::test]
async fn a_command_of_a_later_version_is_not_served_before_and_waits_after_a_rollback() {
    let house = house().await;
    house.configure(|text| {
        text + &HANDLER.replace("component = \"hostile.wasm\"", "source = \"store\"").replace(
            "commands.do = { id = \"/order/id\" }",
            "commands.do = { id = \"/order/id\" }\ncommands.redo = { id = \"/order/id\" }",
        ) + "\n[[routes]]\npath = \"/redo\"\ncommand = \"redo\"\n"
    });
    let event = one_event(*b"done", 10);
    let later = component(&house, "later", &handler(&[("commands", "do redo"), ("decide", event.as_str())]));
    let [quiet, saying] = versions(&house);
    push(&house, &quiet, "1").await;
    push(&house, &later, "2").await;
    push(&house, &saying, "3").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    let redo = async |id: &str, wait: &str| {
        let body = json!({ "id": id, "data": { "order": { "id": 7 } } }).to_string();
        host.send(&Request::put("/redo", body).with("Prefer", wait)).await
    };
    let answer = redo("early", "wait=30").await;
    assert_eq!((answer.status, answer.at("/code").as_str()), (503, "not-yet-served"), "{answer}");
    // A client that uses NATS is not refused. Its command waits, and so does what comes after it for the entity.
    let order = json!({ "order": { "id": 7 } }).to_string();
    publish(&house, "command.redo.by-nats", &binary("by-nats", "redo"), &order).await;
    let said = done(&house, &["activate", "hostile@2"]).await;
    assert!(said.contains("commands ok (all are taken)"), "{said}");
    eventually("the command is decided", async || {
        let answer = host.get("/commands/by-nats").await;
        anyhow::ensure!(answer.at("/status") == "accepted", "{answer}");
        Ok(())
    })
    .await;
    assert_eq!(redo("later", "wait=30").await.status, 201);
    let expected = "commands: it does not take redo, which the version that runs takes";
    refused(&house, &["activate", "hostile@3"], expected).await;
    done(&house, &["rollback", "hostile"]).await;
    assert_eq!(redo("again", "wait=30").await.status, 503);
    assert_eq!(send(&host, "still", 7).await.status, 200);
    host.stop().await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
}

/// A handler whose snapshots have one byte, and whose restored entities are told from others by the number in their place.
fn restoring(place: u32, decide: &str) -> Vec<u8> {
    let snapshot = "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 4096))
        (i32.store (i32.const 520) (i32.const 1)) (i32.const 512)";
    let restore = format!(
        "(i32.store8 (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (call $new (i32.const {place}))) (i32.const 512)"
    );
    let evolve = "(i32.store8 (i32.const 512) (i32.const 0)) (i32.const 512)";
    handler(&[("snapshot", snapshot), ("restore", &restore), ("evolve", evolve), ("decide", decide)])
}

/// A state of the version before means something else to this one.
#[tokio::test]
async fn a_version_that_decides_otherwise_on_a_snapshot_is_refused() {
    let house = house().await;
    let (nothing, event) = (decided(0, 0), one_event(*b"done", 10));
    let old = component(&house, "old", &restoring(1, &nothing));
    let by_place = format!(
        "(if (result i32) (i32.eq (i32.load (local.get 0)) (i32.const 2)) (then {event}) (else {nothing}))"
    );
    let new = component(&house, "new", &restoring(2, &by_place));
    push(&house, &old, "1").await;
    push(&house, &new, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    for n in 0..10 {
        assert_eq!(send(&host, &format!("c{n}"), n % 3).await.status, 200);
    }
    refused(&house, &["activate", "hostile@2", "--one-way"], "restored = replayed: ").await;
    assert_eq!(send(&host, "still", 1).await.status, 200);
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

#[tokio::test]
async fn what_has_failed_is_tried_on_a_version_before_it_is_activated() {
    let house = house().await;
    let [quiet, _] = versions(&house);
    let undeclared = component(&house, "undeclared", &handler(&[("decide", &one_event(*b"nope", 10))]));
    push(&house, &undeclared, "1").await;
    push(&house, &quiet, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    for n in 0..3 {
        assert_eq!(send(&host, &format!("c{n}"), n).await.status, 500);
    }
    let said = done(&house, &["activate", "hostile@2"]).await;
    assert!(said.contains("dead letters ok (3 of 3 would pass now)"), "{said}");
    host.stop().await;
}

const VIEW: &str = r#"
[plugins.seen]
source = "store"

[projections.seen]
plugin = "seen"
stream = "shop"
"#;

/// A projection's events were dead letters, or waited, until somebody went back.
#[tokio::test]
async fn a_projection_that_breaks_is_taken_back_by_itself_and_its_view_goes_on() {
    let house = House::open().await;
    let quiet = component(&house, "hostile", &handler(&[("decide", one_event(*b"done", 10).as_str())]));
    house.configure(|text| text + HANDLER + VIEW);
    assert!(quiet.ends_with("hostile.wasm"));
    let works = component(&house, "works", &projection(&[])).display().to_string();
    let broken = component(&house, "broken", &projection(&[("keys", "(unreachable)")])).display().to_string();
    done(&house, &["push", "seen", &works, "--version", "1"]).await;
    done(&house, &["push", "seen", &broken, "--version", "2"]).await;
    done(&house, &["activate", "seen@1"]).await;
    let host = house.host().await;
    // There is no event yet that it could be tried on.
    done(&house, &["activate", "seen@2"]).await;
    for n in 0..30 {
        assert_eq!(send(&host, &format!("c{n}"), n % 3).await.status, 201);
    }
    eventually("the view has all events", async || {
        let answer = host.get("/views/seen").await;
        anyhow::ensure!(answer.at("/position").parse::<u64>()? >= 30, "{answer}");
        Ok(())
    })
    .await;
    eventually("the host goes back", async || {
        let history = done(&house, &["history", "seen"]).await;
        anyhow::ensure!(history.contains("rolled back because the version after it broke"), "{history}");
        Ok(())
    })
    .await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    refused(&house, &["activate", "seen@2"], "smoke: breaks on").await;
    host.stop().await;
}

/// A host that starts after the switch had no version before, so what broke became dead letters.
#[tokio::test]
async fn a_host_that_starts_again_has_the_version_on_trial_still() {
    let house = house().await;
    let [quiet, _] = versions(&house);
    let broken = component(&house, "broken", &handler(&[("decide", "(unreachable)")]));
    push(&house, &quiet, "1").await;
    push(&house, &broken, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    let host = house.host().await;
    done(&house, &["activate", "hostile@2"]).await;
    host.kill().await;
    let host = house.host().await;
    for n in 0..10 {
        let answer = send(&host, &format!("c{n}"), n % 3).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    eventually("the host goes back", async || {
        let history = done(&house, &["history", "hostile"]).await;
        anyhow::ensure!(history.contains("rolled back because the version after it broke"), "{history}");
        Ok(())
    })
    .await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    // It starts with what it went back to, and nothing is on trial.
    host.stop().await;
    let host = house.host().await;
    assert_eq!(send(&host, "last", 1).await.status, 200);
    host.stop().await;
}

/// The suite's verdict travels with the component, and counts for the settings and limits that it was made under.
#[tokio::test]
async fn a_plugin_that_needs_a_verdict_is_activated_with_one_only() {
    let house = House::open().await;
    let built = pelton_tests::place::plugins().expect("the components").join("hotel-booking.wasm");
    house.configure(|text| {
        let needs = "component = \"booking.wasm\", source = \"store\", verdict = \"required\"";
        let text = text.replace(&format!("component = {}", json!(built)), needs);
        assert!(text.contains(needs));
        text
    });
    let file = house.config().with_file_name("booking.wasm");
    std::fs::copy(built, &file).expect("a copy");

    done(&house, &["push", "booking"]).await;
    refused(&house, &["activate", "booking"], "conformance: there is no verdict of it").await;
    let cases = pelton_tests::place::root().join("plugins/hotel/booking/cases").display().to_string();
    let folder = house.config().parent().expect("a folder").to_owned();
    let test = async |more: &[&str]| {
        let all = [&["test", "booking.wasm", &cases, "--quick"], more].concat();
        let ended = Pelton::start(&folder, all).expect("pelton starts").ended().await.expect("it ends");
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    };
    // Under other limits than it will have.
    test(&["--tier", "deterministic"]).await;
    done(&house, &["push", "booking"]).await;
    refused(&house, &["activate", "booking"], "its verdict is of another set of limits").await;
    test(&["--as", "booking"]).await;
    done(&house, &["push", "booking"]).await;
    let said = done(&house, &["activate", "booking"]).await;
    assert!(said.contains("conformance ok (`pelton test` has passed it)"), "{said}");
}
