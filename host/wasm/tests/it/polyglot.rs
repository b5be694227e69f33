//! The hotel's booking in Rust, JavaScript and Python: the same rules, to the byte, as `make plugins plugins-polyglot`
//! builds them.

use std::path::Path;

use bytes::Bytes;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::message::{NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::FaultKind;
use pelton_wasm::{Activation, Limits, LoadedPlugin, Plugins, Settings, Tier, WasmHandler};
use serde_json::{Value, json};

use crate::booking::path;
use crate::{command, entity, event};

/// To compile a runtime takes its time, so what is compiled is kept for the tests to come.
async fn hotel(name: &str, limits: Limits) -> LoadedPlugin {
    let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let plugins = Plugins::new(&Settings { cache_dir: Some(compiled), ..Settings::default() });
    let with = Activation { limits, tier: Tier::Deterministic, ..Activation::default() };
    let loaded = plugins.expect("an engine").load(name, path(&format!("hotel-{name}")), with).await;
    loaded.unwrap_or_else(|e| panic!("{e}"))
}

async fn handler(name: &str) -> WasmHandler {
    hotel(name, Limits::default()).await.handler().expect("a handler").clone()
}

const OTHERS: [&str; 2] = ["booking-js", "booking-python"];

/// What happened to a booking, from nothing to the guest in the room.
fn history() -> Vec<RecordedEvent> {
    let booked = r#"{"room":{"id":1},"client":{"id":7},"date":"2022-12-12","by":"client 7"}"#;
    let available = r#"{"room":{"id":1},"client":{"id":7},"date":"2022-12-12","by":"housekeeping"}"#;
    let stored =
        |(sequence, (r#type, data)): (u64, (&str, &'static str))| event(r#type, sequence, data.into());
    let happened = [
        ("room-booked", booked),
        ("booking-paid", booked),
        ("room-made-available", available),
        ("no-show-charged", available),
        ("guest-checked-in", booked),
    ];
    (1..).zip(happened).map(stored).collect()
}

/// Commands, right ones and wrong ones.
fn sent() -> Vec<(&'static str, String)> {
    let who = |room: Value, client: Value| {
        json!({"room": room, "client": client, "date": "2022-12-12"}).to_string()
    };
    let id = |id: Value| json!({ "id": id });
    let mut sent = Vec::new();
    for (room, client) in [
        (id(json!(1)), id(json!(7))),
        (id(json!(1)), id(json!(8))),
        (id(json!("1")), id(json!("7"))),
        (id(json!("Suite 5.1~*>")), id(json!("é"))),
        (id(json!("01")), id(json!("07"))),
        (id(json!(0)), id(json!(9_007_199_254_740_991_u64))),
        (json!({"id": 1, "floor": 3}), json!({"id": 7, "name": "ada"})),
        (id(json!(-1)), id(json!(7))),
        (id(json!(1.5)), id(json!(7))),
        (id(json!("")), id(json!(7))),
        (id(json!(" 1")), id(json!(7))),
        (id(json!("a\u{85}")), id(json!(7))),
        (id(json!("x".repeat(36))), id(json!("x".repeat(37)))),
        (id(json!("é".repeat(19))), id(json!(7))),
        (id(json!(true)), id(json!(7))),
        (id(json!(null)), id(json!(7))),
        (json!({}), id(json!(7))),
        (json!(1), id(json!(7))),
        (json!(null), id(json!(7))),
    ] {
        sent.push(("book-room", who(room.clone(), client.clone())));
        sent.push(("check-in", who(room.clone(), client.clone())));
        sent.push(("pay-booking", who(room.clone(), client)));
        sent.push(("make-room-available", json!({"room": room, "date": "2022-12-12"}).to_string()));
    }
    for (name, text) in
        [("reason", json!("no key")), ("message", json!("é")), ("reason", json!(7)), ("message", json!(""))]
    {
        let data = json!({"room": {"id": 1}, "client": {"id": 7}, "date": "2022-12-12", name: text});
        sent.push(("release-room", data.to_string()));
        sent.push(("tell-guest", data.to_string()));
    }
    sent.push(("charge-no-show", json!({"room": {"id": 1}, "date": "2022-12-12"}).to_string()));
    for by in [
        json!(null),
        json!("manager"),
        json!("eve 🚰"),
        json!("x".repeat(64)),
        json!("x".repeat(65)),
        json!(""),
        json!("a\u{0}"),
        json!(1),
    ] {
        let data = json!({"room": {"id": 1}, "date": "2022-12-12", "by": by});
        sent.push(("make-room-available", data.to_string()));
    }
    for date in [
        "2024-02-29",
        "2022-02-29",
        "1900-02-29",
        "2000-02-29",
        "2022-13-01",
        "2022-00-01",
        "2022-01-32",
        "0000-01-01",
        "9999-12-31",
        "22-12-12",
        "2022-1-12",
        "2022-12-12T00:00:00Z",
        " 2022-12-12",
        "2022-12-12\n",
        "2022-12-1\u{661}",
        "",
    ] {
        sent.push(("book-room", json!({"room": {"id": 1}, "client": {"id": 7}, "date": date}).to_string()));
    }
    let wrong = [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"text\"",
        "{}",
        r#"{"room":{"id":1}}"#,
        r#"{"date":20221212}"#,
        r#"{"room":{"id":1},"client":{"id":7},"date":"2022-12-12"}}"#,
        r#"{"room":{"id":NaN},"client":{"id":7},"date":"2022-12-12"}"#,
        r#"{"room":{"id":"\ud800"},"client":{"id":7},"date":"2022-12-12"}"#,
        r#"{"room":{"id":1},"client":{"id":7},"date":"2022-12-12","note":"\u0000"}"#,
    ];
    sent.extend(wrong.map(|data| ("book-room", data.to_owned())));
    sent.push(("book-room", "[".repeat(20_000)));
    sent
}

/// What a handler decides, without what it says for people of a command that it cannot read: that is in the words of its
/// language.
async fn decided(
    handler: &WasmHandler,
    history: &[RecordedEvent],
    r#type: &str,
    data: &str,
) -> Result<Vec<NewEvent>, Rejection> {
    let mut booking = handler.create(entity().id(), Isolation::Shared).await.expect("an entity");
    booking.evolve(history).await.unwrap_or_else(|fault| panic!("{fault}"));
    let decided = booking.decide(&command(r#type, "c1", data)).await;
    let decided = decided.unwrap_or_else(|fault| panic!("{type} {data}: {fault}"));
    decided.map_err(|rejection| match rejection.code.as_str() {
        Rejection::INVALID_COMMAND => Rejection::new(Rejection::INVALID_COMMAND, ""),
        _ => rejection,
    })
}

#[tokio::test]
async fn the_booking_decides_the_same_in_every_language() {
    let rust = handler("booking").await;
    let history = history();
    for name in OTHERS {
        let other = handler(name).await;
        let (of_rust, of_other) = (rust.descriptor(), other.descriptor());
        assert_eq!(of_other.identity.name, format!("hotel-{name}"));
        assert_eq!((&of_other.emits, &of_other.folds), (&of_rust.emits, &of_rust.folds), "{name}");
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        assert_eq!(sorted(&of_other.commands), sorted(&of_rust.commands), "{name}");
        assert_eq!(sorted(&of_other.rejections), sorted(&of_rust.rejections), "{name}");
        for events in 0..=history.len() {
            for (r#type, data) in sent() {
                let [expected, got] =
                    [&rust, &other].map(|handler| decided(handler, &history[..events], r#type, &data));
                let (expected, got) = (expected.await, got.await);
                assert_eq!(got, expected, "{name}: {type} {data} after {events} events");
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_refused_in_every_language() {
    for name in ["booking", "booking-js", "booking-python"] {
        let handler = handler(name).await;
        for data in ["", "{", "{}", "null", r#"{"room":{"id":1},"client":{"id":7},"date":"2022-12-12"}"#] {
            let mut booking = handler.create(entity().id(), Isolation::Shared).await.expect("an entity");
            let unreadable = event("room-booked", 7, Bytes::from_static(data.as_bytes()));
            let fault = booking.evolve(&[unreadable]).await.expect_err("it cannot be read");
            assert_eq!(fault.kind, FaultKind::Refused, "{name}: {fault}");
            assert!(fault.what.starts_with("cannot read an event: "), "{name}: {fault}");
        }
    }
}

#[tokio::test]
async fn a_booking_comes_back_from_its_snapshot_in_every_language() {
    let history = history();
    for name in OTHERS {
        let handler = handler(name).await;
        for events in 0..=history.len() {
            let mut booking = handler.create(entity().id(), Isolation::Shared).await.expect("an entity");
            booking.evolve(&history[..events]).await.expect("folds");
            let snapshot = booking.snapshot().await.expect("answers").expect("it gives one");
            let restored =
                handler.restore(entity().id(), &snapshot, Isolation::Alone).await.expect("answers");
            let mut restored = restored.unwrap_or_else(|why| panic!("{name}: {why}"));
            for (r#type, data) in &sent()[..6] {
                let command = command(r#type, "c1", data);
                let [one, other] = [booking.decide(&command).await, restored.decide(&command).await];
                assert_eq!(one.expect("decides"), other.expect("decides"), "{name} after {events} events");
            }
            let refused = handler.restore(entity().id(), b"{", Isolation::Alone).await;
            assert!(refused.expect("answers").is_err(), "{name}");
        }
    }
}

/// Python never frees what is passed in, and no runtime is trusted to. The sandbox is replaced long before it breaks.
#[tokio::test]
async fn a_runtime_that_leaks_is_retired_before_it_breaks() {
    for name in OTHERS {
        let handler = hotel(name, Limits::default()).await.handler().expect("a handler").clone();
        let large = json!({"room": {"id": 1}, "client": {"id": 7}, "date": "2022-12-12", "note": "x".repeat(200_000)});
        let command = command("book-room", "c1", &large.to_string());
        let (mut sandboxes, mut calls) = (0, 0);
        while sandboxes < 3 {
            let mut booking = handler.create(entity().id(), Isolation::Shared).await.expect("an entity");
            sandboxes += 1;
            while !booking.is_retired() {
                booking
                    .decide(&command)
                    .await
                    .unwrap_or_else(|fault| panic!("{name}: {fault}"))
                    .expect("free");
                calls += 1;
            }
        }
        assert!(calls > 30, "{name}: a sandbox lives for {calls} calls");
    }
}
