//! What is asked before a version runs: which commands it takes, what it decides on entities as they are, its verdict.

use pelton_tests::http::Request;
use pelton_tests::process::Pelton;
use serde_json::json;

use crate::direct::{binary, publish};
use crate::hostile::HANDLER;
use crate::hostile::guests::{decided, handler, one_event};
use crate::house::{House, eventually};
use crate::store::{component, done, house, push, refused, send, versions};

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
