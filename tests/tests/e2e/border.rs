//! Requests that are refused at the border: nothing of them is stored.

use pelton_tests::http::Request;
use pelton_tests::payment;
use serde_json::json;

use crate::house::{House, book};

#[tokio::test]
async fn what_is_refused_at_the_border_is_not_stored() {
    let house = House::open().await;
    let host = house.host().await;
    let path = "/mutation/book-room";
    let room = |id: serde_json::Value| {
        let data = json!({ "room": { "id": id }, "client": { "id": 1 }, "date": "2022-12-12" });
        Request::put(path, json!({ "data": data }).to_string())
    };
    let large = json!({ "data": { "filling": "x".repeat(300 * 1024) } }).to_string();
    let cases = [
        (Request::put(path, "{"), 400, "invalid-body"),
        (Request::put(path, "[]"), 400, "invalid-body"),
        (Request::put(path, "{}"), 400, "invalid-body"),
        (Request::put(path, r#"{"data":{},"di":"misspelt"}"#), 400, "invalid-body"),
        (Request::put(path, r#"{"data":{}}"#), 400, "invalid-entity"),
        (room(json!(null)), 400, "invalid-entity"),
        (room(json!({})), 400, "invalid-entity"),
        (room(json!("")), 400, "invalid-entity"),
        (room(json!("1.2")), 400, "invalid-entity"),
        (room(json!("*")), 400, "invalid-entity"),
        (room(json!(">")), 400, "invalid-entity"),
        (room(json!("a b")), 400, "invalid-entity"),
        (room(json!("a\tb")), 400, "invalid-entity"),
        (room(json!("x".repeat(257))), 400, "invalid-entity"),
        (book("a.b", 1, 1), 400, "invalid-id"),
        (book("*", 1, 1), 400, "invalid-id"),
        (book(">", 1, 1), 400, "invalid-id"),
        (book("a b", 1, 1), 400, "invalid-id"),
        (book("", 1, 1), 400, "invalid-id"),
        (book(&"x".repeat(1000), 1, 1), 400, "invalid-id"),
        (book("a", 1, 1).with("Idempotency-Key", "b"), 400, "invalid-id"),
        (book("a", 1, 1).with("If-Match", "*"), 400, "invalid-header"),
        (Request::put(path, large), 413, "too-large"),
        (book("a", 1, 1).with("Content-Type", "text/plain"), 415, "unsupported-media-type"),
        (Request { method: "POST".to_owned(), ..book("a", 1, 1) }, 405, "method-not-allowed"),
        (Request::get("/mutation/nothing"), 404, "unknown-route"),
        (Request::get("/views/nothing"), 404, "unknown-view"),
        (Request::get("/views/bookings/nothing"), 404, "unknown-key"),
        (Request::get("/views/bookings?limit=0"), 400, "invalid-parameter"),
        (Request::get("/commands/nothing"), 404, "unknown-command"),
    ];
    for (request, status, code) in cases {
        let answer = host.send(&request).await;
        let shown: String = format!("{request:?}").chars().take(300).collect();
        assert_eq!((answer.status, answer.at("/code").as_str()), (status, code), "{shown}\n{answer}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
    }
    let streams = house.streams().await;
    for stream in ["COMMANDS", "AUDIT", "DEAD_LETTERS", "hotel"] {
        assert_eq!(streams.info(stream).await.expect("a stream").state.last_sequence, 0, "{stream}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_id_of_any_script_is_as_good_as_another() {
    let house = House::open().await;
    let host = house.host().await;
    let (id, longest) = ("größe-🛏", "x".repeat(256));
    for (room, id) in (1..).zip([id, &longest]) {
        let first = host.send(&book(id, room, 1)).await;
        assert_eq!(first.status, 201, "{first}");
        let again = host.send(&book(id, room, 1)).await;
        assert_eq!((again.status, again.at("/events")), (201, first.at("/events")), "{again}");
    }
    host.stop().await;
}

/// `ETag` states the sequence of the entity after a command. `If-Match` lets another command be decided only at that
/// sequence.
#[tokio::test]
async fn a_client_may_insist_on_the_state_that_it_has_seen() {
    let house = House::open_with(payment::example().config).await;
    let host = house.host().await;
    let put = |path: &str, id: &str, rest: serde_json::Value| {
        let mut data = json!({ "order": { "id": 1 } });
        data.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        Request::put(format!("/payment/{path}"), json!({ "id": id, "data": data }).to_string())
    };
    let lines = json!({ "lines": [{ "item": "a desk", "amountCents": 500 }] });
    let placed = host.send(&put("place-order", "place", lines)).await;
    assert_eq!(placed.status, 201, "{placed}");
    let seen = placed.header("etag").expect("a tag").to_owned();
    assert_eq!(seen, format!("\"{}\"", placed.at("/events/1/sequence")));

    let withdraw = |id| put("withdraw", id, json!({ "amountCents": 500 }));
    for (id, other) in [("early", "\"1\""), ("late", "\"3\"")] {
        let refused = host.send(&withdraw(id).with("If-Match", other)).await;
        assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{refused}");
        let problem = ["/status", "/code", "/commandId", "/entity"].map(|part| refused.at(part));
        assert_eq!((refused.status, problem), (412, ["412", "version-mismatch", id, "1"].map(str::to_owned)));
        let expects =
            format!("the sender expects the entity at sequence {}; it is at 2", other.trim_matches('"'));
        assert_eq!(refused.at("/detail"), expects);
    }
    let withdrawn = host.send(&withdraw("in-time").with("If-Match", &seen)).await;
    assert_eq!((withdrawn.status, withdrawn.at("/events/0/type").as_str()), (201, "payment-withdrawn"));
    let again = host.send(&withdraw("again").with("If-Match", &seen)).await;
    assert_eq!((again.status, again.at("/code").as_str()), (412, "version-mismatch"), "{again}");
    let stored = house.streams().await.events("payment").await.expect("the events");
    assert_eq!(stored.len(), 3, "{stored:#?}");
    host.stop().await;
}
