//! From production to a test: a stream is recorded and replayed, and a dead letter becomes a case.

use std::path::PathBuf;

use pelton_tests::http::Request;
use pelton_tests::place;
use pelton_tests::process::{Ended, Pelton};
use serde_json::json;

use crate::hostile::HANDLER;
use crate::hostile::guests::{handler, one_event};
use crate::house::{House, book, check_in, eventually};

/// A rule that takes no time; without any, all are tried.
const RULE: [&str; 2] = ["--rule", "AL-01"];

async fn pelton(house: &House, arguments: &[&str]) -> Ended {
    let folder = house.config().parent().expect("a folder").to_owned();
    Pelton::start(&folder, arguments).expect("pelton starts").ended().await.expect("an end")
}

/// Runs `pelton` to its end, which must have this code, and returns what it said.
async fn says(house: &House, code: i32, arguments: &[&str]) -> String {
    let ended = pelton(house, arguments).await;
    let said = ended.stdout + &ended.stderr;
    assert_eq!(ended.code, Some(code), "{arguments:?}: {said}");
    said
}

fn expect(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[tokio::test]
async fn what_was_decided_is_decided_again_the_same() {
    let house = House::open().await;
    let host = house.host().await;
    for room in 1..=3 {
        assert_eq!(host.send(&book(&format!("b{room}"), room, 40 + room)).await.status, 201);
    }
    assert_eq!(host.send(&book("again", 1, 7)).await.status, 409);
    assert_eq!(host.send(&check_in("early", 2, 42)).await.status, 409);
    house.settle().await;
    host.stop().await;

    says(&house, 0, &["record", "hotel", "--out", "all"]).await;
    let recorded = std::fs::read_to_string(house.config().with_file_name("all")).expect("the recording");
    let component = |name: &str| place::plugins().expect("the components").join(name).display().to_string();
    for (name, expected) in [
        ("hotel-booking.wasm", "5 of 5 the same"),
        ("hotel-cleaning.wasm", "3 of 3 the same"),
        ("hotel-booking-view.wasm", "the same"),
        ("hotel-housekeeping.wasm", "the same"),
    ] {
        let component = component(name);
        let replay = [&["test", component.as_str(), "--replay", "all"], &RULE[..]].concat();
        expect(&says(&house, 0, &replay).await, &[expected]);
        let against = [&replay[..], &["--against", component.as_str()]].concat();
        expect(&says(&house, 0, &against).await, &["the same"]);
    }

    says(&house, 0, &["record", "hotel", "--entity", "booking.1.2022-12-12", "--out", "one"]).await;
    let booking = component("hotel-booking.wasm");
    expect(
        &says(&house, 0, &["test", &booking, "--replay", "one", "--rule", "AL-01"]).await,
        &["2 of 2 the same"],
    );

    // What a plugin makes something of is another then, which says nothing of two versions.
    says(&house, 0, &["record", "hotel", "--redact", "/client/id", "--redact", "/by", "--out", "redacted"])
        .await;
    let redacted = std::fs::read_to_string(house.config().with_file_name("redacted")).expect("the recording");
    assert!(recorded.contains("client 41") && !redacted.contains("client 41"));
    let against = ["test", &booking, "--replay", "redacted", "--against", &booking, "--rule", "AL-01"];
    expect(&says(&house, 0, &against).await, &["2 of 2 the same, 3 not comparable"]);

    // A file that was cut off, of another form, or no recording.
    let cut = recorded.trim_end().rsplit_once('\n').expect("lines").0;
    let other = recorded.replacen(r#""form":1"#, r#""form":9"#, 1);
    for (text, why) in
        [(cut, "it was cut off"), (&other, "it has the form 9"), ("[[case]]\n", "it is not a recording")]
    {
        std::fs::write(house.config().with_file_name("bad"), text).expect("a file");
        expect(&says(&house, 3, &["test", &booking, "--replay", "bad"]).await, &["bad: line ", why]);
    }
    expect(&says(&house, 4, &["record", "nothing"]).await, &["it has hotel"]);
}

fn component(house: &House, name: &str, decide: &str) -> PathBuf {
    let parts: Vec<_> =
        Some(("decide", decide)).filter(|(_, decide)| !decide.is_empty()).into_iter().collect();
    let file = house.config().with_file_name(name);
    std::fs::write(&file, handler(&parts)).expect("a component");
    file
}

#[tokio::test]
async fn a_difference_is_told_once_and_only_where_the_old_version_agrees_with_the_record() {
    let house = House::open().await;
    house.configure(|text| text + HANDLER);
    component(&house, "hostile.wasm", &one_event(*b"done", 10));
    component(&house, "quiet.wasm", "");
    let host = house.host().await;
    for n in 0..6 {
        let body = json!({ "id": format!("c{n}"), "data": { "order": { "id": n % 3 } } }).to_string();
        assert_eq!(host.send(&Request::put("/do", body)).await.status, 201);
    }
    host.stop().await;
    says(&house, 0, &["record", "shop"]).await;
    let replay = |component, more: &[&'static str]| {
        [&["test", component, "--replay", "shop.recording"], &RULE[..], more].concat()
    };
    expect(&says(&house, 0, &replay("hostile.wasm", &[])).await, &["6 of 6 the same"]);
    let said = says(&house, 1, &replay("quiet.wasm", &["--against", "hostile.wasm"])).await;
    expect(
        &said,
        &["DIFF order.0 #1 do c0", "expected done", "got      accepted without events", "6 different"],
    );
    let said = says(&house, 0, &replay("quiet.wasm", &["--against", "quiet.wasm"])).await;
    expect(&said, &["6 not comparable"]);
}

#[tokio::test]
async fn a_dead_letter_becomes_a_case_that_fails_until_the_plugin_is_mended() {
    let house = House::open().await;
    house.configure(|text| text + HANDLER);
    component(&house, "mended.wasm", &one_event(*b"done", 10));
    component(&house, "hostile.wasm", &one_event(*b"gone", 10));
    let host = house.host().await;
    let body = json!({ "id": "c1", "data": { "order": { "id": 1 } } }).to_string();
    assert_eq!(host.send(&Request::put("/do", body).with("Prefer", "wait=60")).await.status, 500);
    let streams = house.streams().await;
    eventually("it is set aside", async || {
        anyhow::ensure!(streams.read("DEAD_LETTERS").await?.len() == 1);
        Ok(())
    })
    .await;
    host.stop().await;

    says(&house, 0, &["dlq", "case", "1", "--out", "case.toml"]).await;
    let case = std::fs::read_to_string(house.config().with_file_name("case.toml")).expect("a case");
    expect(&case, &["# ", "dead letter 1: do", "entity = \"1\"", "command = \"do\"", "order"]);
    let said = says(&house, 1, &["test", "hostile.wasm", "case.toml"]).await;
    expect(&said, &["gone"]);
    expect(
        &says(&house, 4, &["dlq", "case", "1", "--plugin", "mended.wasm", "--out", "x"]).await,
        &["processes it"],
    );
    let fixed = pelton(&house, &["test", "mended.wasm", "case.toml"]).await;
    expect(&fixed.stdout, &["1 of 1 cases as expected"]);
}
