//! Views, health and the index.

use serde_json::json;

use crate::check::{check, get, request};
use crate::fakes::Answer;

#[tokio::test]
async fn a_value_comes_as_the_plugin_wrote_it() {
    let value = |key: &str| get(&format!("/views/bookings/{key}"));
    check(vec![
        value("1.2022-12-12")
            .answers(200)
            .says(br#"{"availability": "booked"}"#)
            .header("content-type", "application/json")
            .header("pelton-position", "77"),
        value("1/2/gr%C3%B6%C3%9Fe").answers(200).says(b"[1.0]"),
        value("1%2F2%2Fgr%c3%b6%c3%9fe").answers(200).says(b"[1.0]"),
        value("2.2022-12-12")
            .answers(200)
            .says(b"\xff\x00")
            .header("content-type", "application/octet-stream"),
        value("empty").answers(200).says(b"").header("content-type", "application/octet-stream"),
        value("none")
            .refuses(404, "unknown-key")
            .because("the view \"bookings\" has no value under \"none\"")
            .header("pelton-position", "77")
            .has("/view", "bookings")
            .has("/key", "none"),
        get("/views/none/1").refuses(404, "unknown-view").because("there is no view \"none\""),
        get("/views/a.b%20*/1").refuses(404, "unknown-view"),
        value("%ff").refuses(400, "invalid-path"),
        get("/views/%ff/1").refuses(400, "invalid-path"),
        value(&"x".repeat(257)).refuses(400, "invalid-parameter").because("has 257 bytes"),
        value("").refuses(404, "unknown-route"),
        value("1.2022-12-12").when(Answer::Away).refuses(503, "unavailable").header("retry-after", "1"),
        request("HEAD", "/views/bookings/1.2022-12-12").answers(200).header("pelton-position", "77"),
        request("PUT", "/views/bookings/1").refuses(405, "method-not-allowed").header("allow", "GET,HEAD"),
    ])
    .await;
}

#[tokio::test]
async fn values_come_in_pages() {
    let list = |query: &str| get(&format!("/views/bookings{query}"));
    let bad = |query: &str| list(query).refuses(400, "invalid-parameter");
    check(vec![
        list("").answers(200).header("pelton-position", "77").has(
            "",
            json!({
                "rows": [
                    { "key": "1.2022-12-12", "value": { "availability": "booked" } },
                    { "key": "1/2/größe", "value": [1.0] },
                    { "key": "2.2022-12-12", "valueBase64": "/wA=" },
                    { "key": "empty", "valueBase64": "" },
                ],
                "next": null,
                "position": 77,
            }),
        ),
        list("?limit=1&prefix=1")
            .answers(200)
            .has("/rows/0/key", "1.2022-12-12")
            .has("/next", "1.2022-12-12"),
        list("?limit=1&prefix=1&after=1.2022-12-12")
            .answers(200)
            .has("/rows/0/key", "1/2/größe")
            .has("/next", json!(null)),
        list("?prefix=1%2F2%2Fgr%C3%B6&after=&limit=1000&").answers(200).has("/rows/0/key", "1/2/größe"),
        list("?prefix=a+b").answers(200).has("/rows", json!([])),
        bad("?limit=0").because("from 1 to 1000"),
        bad("?limit=1001").because("from 1 to 1000"),
        bad("?limit=-1"),
        bad("?limit="),
        bad("?limit=ten").has("/parameter", "limit"),
        bad("?limit=99999999999999999999999"),
        bad("?prefx=1").because("\"prefx\" is not known"),
        bad("?prefix=1&prefix=2").because("given twice"),
        bad("?prefix=%ff").because("not UTF-8"),
        bad(&format!("?after={}", "x".repeat(257))).because("has 257 bytes"),
        get("/views/none").refuses(404, "unknown-view"),
        get("/views/%ff").refuses(400, "invalid-path"),
        get("/views/").refuses(404, "unknown-route"),
        list("").when(Answer::Away).refuses(503, "unavailable"),
        request("HEAD", "/views/bookings").answers(200),
    ])
    .await;
}

#[tokio::test]
async fn health_and_index() {
    check(vec![
        get("/healthz").when(Answer::Away).answers(200).has("/status", "up"),
        get("/healthz").when(Answer::Broken).refuses(503, "unavailable"),
        request("HEAD", "/healthz").answers(200),
        get("/readyz").answers(200).has("/status", "ready"),
        get("/readyz")
            .when(Answer::Away)
            .refuses(503, "unavailable")
            .because("publish to PELTON_COMMANDS: no responders")
            .header("retry-after", "1"),
        get("/").answers(200).has("/views", json!(["/views/bookings"])).has(
            "/commands/1",
            json!({ "method": "POST", "path": "/mutation/book-room", "command": "book-room" }),
        ),
        get("/").with("x-request-id", "r-1").answers(200).header("x-request-id", "r-1"),
    ])
    .await;
}
