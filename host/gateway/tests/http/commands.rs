//! Commands in, outcomes out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use pelton_core::id::Sequence;
use pelton_core::message::Rejection;
use serde_json::json;
use uuid::Uuid;

use crate::check::{DATA, book, booking, check, get, request};
use crate::fakes::Answer;

const C1: &str = r#""id":"c-1","#;

#[tokio::test]
async fn what_is_taken_is_handed_in_as_it_was_sent() {
    check(vec![
        book(booking("")).answers(201).submits(|command, wait| {
            assert_eq!(Uuid::parse_str(command.id.as_str()).unwrap().get_version_num(), 7);
            assert_eq!(command.r#type.as_str(), "book-room");
            assert_eq!(&command.data[..], DATA.as_bytes());
            assert_eq!(command.datacontenttype, "application/json");
            assert_eq!((&command.correlation_id, &command.causation_id), (&None, &None));
            assert_eq!((&command.traceparent, command.expected), (&None, None));
            assert!(command.metadata.is_empty());
            assert_eq!(wait, Duration::from_secs(5));
        }),
        book(booking(r#""id":"c-1","correlationId":"trip 7, größe","#)).answers(201).submits(|command, _| {
            assert_eq!(command.id.as_str(), "c-1");
            assert_eq!(command.correlation_id.as_deref(), Some("trip 7, größe"));
        }),
        // What serializers of other languages write for a missing value.
        book(booking(r#""id":null,"correlationId":null,"#))
            .answers(201)
            .submits(|command, _| assert_eq!(command.correlation_id, None)),
        request("POST", "/mutation/book-room")
            .with("content-type", "application/json")
            .body(booking(C1))
            .answers(201)
            .submits_id("c-1"),
        request("PUT", "/mutation/checkin?x=1")
            .with("content-type", "application/json")
            .body(booking(C1))
            .answers(201)
            .submits(|command, _| assert_eq!(command.r#type.as_str(), "check-in")),
        book(booking("")).with("idempotency-key", "c-2").answers(201).submits_id("c-2"),
        book(booking("")).with("idempotency-key", "\"c-2\"").answers(201).submits_id("c-2"),
        book(booking(C1)).with("idempotency-key", "c-1").answers(201).submits_id("c-1"),
        book(booking("")).with("idempotency-key", "größe").answers(201).submits_id("größe"),
        book(booking(C1))
            .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .answers(201)
            .submits(|command, _| assert!(command.traceparent.as_ref().unwrap().starts_with("00-0af7"))),
        book(booking(C1))
            .with("traceparent", "00-xyz")
            .answers(201)
            .submits(|command, _| assert_eq!(command.traceparent, None)),
        book(booking(C1))
            .with("if-match", "\"41\"")
            .answers(201)
            .submits(|command, _| assert_eq!(command.expected, Some(Sequence(41)))),
        book(booking(C1))
            .with("if-match", "\"0\"")
            .answers(201)
            .submits(|command, _| assert_eq!(command.expected, Some(Sequence::NONE))),
    ])
    .await;
}

#[tokio::test]
async fn how_long_to_wait_is_the_clients_choice_within_bounds() {
    let waits = |seconds: u64| move |_: &_, wait| assert_eq!(wait, Duration::from_secs(seconds));
    check(vec![
        book(booking(C1)).answers(201).no_header("preference-applied").submits(waits(5)),
        book(booking(C1))
            .with("prefer", "wait=0")
            .answers(201)
            .header("preference-applied", "wait=0")
            .submits(waits(0)),
        book(booking(C1))
            .with("prefer", "wait=61")
            .answers(201)
            .header("preference-applied", "wait=60")
            .submits(waits(60)),
        book(booking(C1))
            .with("prefer", "wait=soon")
            .answers(201)
            .no_header("preference-applied")
            .submits(waits(5)),
        book(booking(C1))
            .with("prefer", b"wait=\xff")
            .answers(201)
            .no_header("preference-applied")
            .submits(waits(5)),
        book(booking(C1))
            .with("prefer", "wait=1")
            .when(Answer::Pending)
            .answers(202)
            .header("preference-applied", "wait=1")
            .submits(waits(1)),
    ])
    .await;
}

#[tokio::test]
async fn every_outcome_has_its_answer() {
    let rejected = |code: &str| Answer::Rejected(Rejection::new(code, "room 1 is taken"));
    let detailed =
        Rejection { details: vec![("by".into(), "client 2".into())], ..Rejection::new("room taken", "no") };
    check(vec![
        book(booking(C1))
            .when(Answer::Accepted(2))
            .answers(201)
            .header("content-type", "application/json")
            .header("location", "/commands/c-1")
            .header("etag", "\"42\"")
            .has(
                "",
                json!({
                    "commandId": "c-1", "status": "accepted", "entity": "1.2022-12-12",
                    "events": [
                        { "id": "c-1:0", "type": "room-booked", "version": 1, "stream": "hotel", "sequence": 41 },
                        { "id": "c-1:1", "type": "room-booked", "version": 1, "stream": "hotel", "sequence": 42 },
                    ],
                }),
            )
            .submits_id("c-1"),
        book(booking(r#""id":"größe/1?","#))
            .answers(201)
            .header("location", "/commands/gr%C3%B6%C3%9Fe%2F1%3F")
            .submits_id("größe/1?"),
        book(booking(C1))
            .when(Answer::Accepted(0))
            .answers(200)
            .header("location", "/commands/c-1")
            .no_header("etag")
            .has("/events", json!([]))
            .submits_id("c-1"),
        book(booking(C1))
            .when(Answer::Pending)
            .answers(202)
            .header("location", "/commands/c-1")
            .has("", json!({ "commandId": "c-1", "status": "pending", "entity": "1.2022-12-12" }))
            .submits_id("c-1"),
        book(booking(C1))
            .when(Answer::Parked("it waits behind dead letter 7 of its entity"))
            .answers(202)
            .header("location", "/commands/c-1")
            .has(
                "",
                json!({
                    "commandId": "c-1", "status": "parked", "entity": "1.2022-12-12",
                    "detail": "the command is kept and not decided: it waits behind dead letter 7 of its entity; \
                               it is decided when an operator has dealt with that",
                }),
            )
            .submits_id("c-1"),
        book(booking(C1))
            .when(rejected("room-taken"))
            .refuses(409, "room-taken")
            .has("/type", "urn:pelton:rejection:room-taken")
            .has("/title", "The command was rejected")
            .has("/detail", "room 1 is taken")
            .has("/commandId", "c-1")
            .has("/entity", "1.2022-12-12")
            .submits_id("c-1"),
        book(booking(C1))
            .with("prefer", "wait=2")
            .when(Answer::Rejected(detailed))
            .refuses(409, "room taken")
            .has("/type", "urn:pelton:rejection:room%20taken")
            .has("/details", json!({ "by": "client 2" }))
            .header("preference-applied", "wait=2")
            .submits_id("c-1"),
        book(booking(C1)).when(rejected(Rejection::ID_REUSED)).refuses(409, "command-id-reused").submits_id("c-1"),
        book(booking(C1)).when(rejected(Rejection::INVALID_COMMAND)).refuses(400, "invalid-command").submits_id("c-1"),
        book(booking(C1)).when(rejected(Rejection::VERSION_MISMATCH)).refuses(412, "version-mismatch").submits_id("c-1"),
        book(booking(C1))
            .when(Answer::Failed("plugin booking: trapped\nguest backtrace:\n  secret()"))
            .refuses(500, "command-failed")
            .has("/type", "about:blank")
            .has("/detail", "plugin booking: trapped")
            .has("/commandId", "c-1")
            .submits_id("c-1"),
        book(booking(C1))
            .when(Answer::Away)
            .refuses(503, "unavailable")
            .header("retry-after", "1")
            .has("/commandId", "c-1")
            .submits_id("c-1"),
        request("PUT", "/mutation/renovate")
            .with("content-type", "application/json")
            .body(booking(C1))
            .refuses(503, "not-yet-served")
            .has("/command", "renovate")
            .header("retry-after", "1"),
        book(booking(C1)).when(Answer::TooLarge).refuses(413, "too-large").has("/maxBytes", 1_048_576).submits_id("c-1"),
        book(booking(C1)).when(Answer::IdInUse).refuses(409, "command-id-reused").has("/commandId", "c-1").submits_id("c-1"),
    ])
    .await;
}

#[tokio::test]
async fn an_id_that_would_change_a_subject_is_refused() {
    let with_id = |id: &str| book(booking(&format!(r#""id":{},"#, json!(id))));
    let long = "x".repeat(256);
    check(vec![
        with_id("a.b").refuses(400, "invalid-id").because("'.' at byte 1"),
        with_id("*").refuses(400, "invalid-id").because("'*' at byte 0"),
        // R1: a client's command could take the place of one that a saga was about to send.
        with_id("saga:s:1:hotel:7:0").refuses(400, "invalid-id").because("which only sagas may use"),
        with_id("a>").refuses(400, "invalid-id").because("'>' at byte 1"),
        with_id("a b").refuses(400, "invalid-id").because("' ' at byte 1"),
        with_id("a\tb").refuses(400, "invalid-id").because("'\\t'"),
        with_id("a\u{0}b").refuses(400, "invalid-id").because("'\\0'"),
        with_id("a\u{2003}b").refuses(400, "invalid-id").because("'\\u{2003}'"),
        with_id("").refuses(400, "invalid-id").because("is empty"),
        with_id(&"x".repeat(900)).refuses(400, "invalid-id").because("has 900 bytes"),
        with_id(&format!("{long}x")).refuses(400, "invalid-id").because("has 257 bytes"),
        with_id(&long).answers(201).submits(|command, _| assert_eq!(command.id.as_str().len(), 256)),
        with_id("größe-日本").answers(201).submits_id("größe-日本"),
        book(booking(""))
            .with("idempotency-key", "x".repeat(1024))
            .refuses(400, "invalid-id")
            .because("has 1024 bytes"),
        book(booking("")).with("idempotency-key", "a.b").refuses(400, "invalid-id"),
        book(booking("")).with("idempotency-key", "").refuses(400, "invalid-id"),
        book(booking("")).with("idempotency-key", "\"\"").refuses(400, "invalid-id"),
        book(booking("")).with("idempotency-key", b"\xff").refuses(400, "invalid-header"),
        book(booking(""))
            .with("idempotency-key", "a")
            .with("idempotency-key", "b")
            .refuses(400, "invalid-header"),
        book(booking(C1)).with("idempotency-key", "c-2").refuses(400, "invalid-id").because("different ids"),
        book(booking(r#""correlationId":"","#)).refuses(400, "invalid-correlation-id"),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_command_is_refused_with_its_place() {
    let body = |body: &str| book(body).refuses(400, "invalid-body");
    let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(450), "]".repeat(450));
    check(vec![
        body("").because("EOF").has("/line", 1),
        body("{\"id\": \"a\",\n \"data\":").because("EOF").has("/line", 2).has("/column", 8),
        body(r#"{"data":{"room":"#).because("EOF"),
        body(r#"[{"room":{"id":1},"date":"2022-12-12"}]"#)
            .because("sequence, expected an object with the member `data`"),
        body("null").because("null"),
        body("data").because("expected"),
        body("{}").because("missing field `data`"),
        body(r#"{"id":"a"}"#).because("missing field `data`"),
        body(&booking(r#""Id":"a","#)).because("unknown field `Id`").has("/column", 5),
        body(&booking(r#""correlation_id":"a","#)).because("unknown field `correlation_id`"),
        body(&booking(r#""id":"a","id":"b","#)).because("duplicate field `id`"),
        body(&booking(r#""data":{},"#)).because("duplicate field `data`"),
        body(&booking(r#""id":7,"#)).because("invalid type: integer `7`, expected a string"),
        body(&format!("{}x", booking(""))).because("trailing characters"),
        body(&format!("\u{feff}{}", booking(""))).because("expected"),
        body(&deep).because("recursion limit"),
        body(r#"{"data":{"room":1e999}}"#).because("number out of range"),
        body(r#"{"data":{"room":"\ud800"}}"#).because("hex escape"),
        book(b"{\"data\":\"\xff\"}").refuses(400, "invalid-body"),
        book(b"{\"data\":{},\"id\":\"\xff\"}").refuses(400, "invalid-body"),
    ])
    .await;
}

#[tokio::test]
async fn a_command_without_its_entity_is_refused_with_the_pointer() {
    let data = |data: &str| book(format!(r#"{{"data":{data}}}"#)).refuses(400, "invalid-entity");
    check(vec![
        data(r#"{"room":{"id":1}}"#).because("/date").has("/pointer", "/data/date").has("/token", "day"),
        data(r#"{"date":"2022-12-12"}"#).because("is missing").has("/pointer", "/data/room/id"),
        data(r#"{"room":{"id":null},"date":"x"}"#).because("is missing"),
        data(r#"{"room":{"id":1.5},"date":"x"}"#).because("fraction"),
        data(r#"{"room":{"id":{}},"date":"x"}"#).because("neither a text nor a whole number"),
        data(r#"{"room":{"id":""},"date":"x"}"#).because("is empty"),
        data(r#"{"room":{"id":"a.b"},"date":"x"}"#).because("'.' at byte 1"),
        data(r#"{"room":{"id":"*"},"date":"x"}"#).because("'*'"),
        data(r#"{"room":{"id":">"},"date":"x"}"#).because("'>'"),
        data(r#"{"room":{"id":"a b"},"date":"x"}"#).because("' '"),
        data("null").because("is missing"),
        data("[]").because("is missing"),
        data(r#""room""#).because("is missing"),
    ])
    .await;
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused() {
    let filled = |bytes: usize| {
        let body = booking(C1);
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    let json = "application/json";
    let text = |value: &'static str| book(booking("")).without("content-type").with("content-type", value);
    let cut = stream::iter([Ok(Bytes::from_static(b"{")), Err("gone")]);
    check(vec![
        text("application/json; charset=utf-8").answers(201).submits(|_, _| {}),
        text("Application/JSON;charset=\"UTF-8\"").answers(201).submits(|_, _| {}),
        text("application/vnd.hotel+json").answers(201).submits(|_, _| {}),
        text("application/json; charset=latin1")
            .refuses(415, "unsupported-media-type")
            .header("accept", json),
        text("text/plain").refuses(415, "unsupported-media-type"),
        text("application/x-www-form-urlencoded").refuses(415, "unsupported-media-type"),
        text("").refuses(415, "unsupported-media-type"),
        book(booking("")).without("content-type").refuses(415, "unsupported-media-type"),
        book(filled(1000)).answers(201).submits_id("c-1"),
        book(filled(1001)).refuses(413, "too-large").has("/maxBytes", 1000),
        book(filled(500_000)).refuses(413, "too-large"),
        book(filled(3_000_000)).refuses(413, "too-large"),
        book("").stream(Body::from_stream(cut)).refuses(400, "invalid-body").because("ended early"),
        book("")
            .stream(Body::from_stream(stream::pending::<Result<Bytes, &str>>()))
            .refuses(408, "body-timeout"),
        book(booking("")).with("if-match", "41").refuses(400, "invalid-header").because("If-Match"),
        book(booking("")).with("if-match", "*").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "W/\"41\"").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "\"41\", \"42\"").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "\"+41\"").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "\"\"").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "\"99999999999999999999\"").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", b"\xff").refuses(400, "invalid-header"),
        book(booking("")).with("if-match", "\"1\"").with("if-match", "\"1\"").refuses(400, "invalid-header"),
        request("PUT", "/mutation/none").refuses(404, "unknown-route"),
        request("PUT", "/mutation/book-room/").refuses(404, "unknown-route"),
        request("PUT", "/mutation/book%2Droom").refuses(404, "unknown-route"),
        request("PUT", "/%ff").refuses(404, "unknown-route"),
        request("GET", "/mutation/book-room").refuses(405, "method-not-allowed").header("allow", "PUT,POST"),
        request("HEAD", "/mutation/book-room").answers(405).header("allow", "PUT,POST"),
        request("DELETE", "/mutation/checkin").refuses(405, "method-not-allowed").header("allow", "PUT"),
        request("OPTIONS", "/mutation/checkin").refuses(405, "method-not-allowed").header("allow", "PUT"),
        request("FROBNICATE", "/mutation/checkin").refuses(405, "method-not-allowed").header("allow", "PUT"),
        request("PUT", "/commands/c-1").refuses(405, "method-not-allowed").header("allow", "GET,HEAD"),
        request("FROBNICATE", "/nowhere").refuses(404, "unknown-route"),
    ])
    .await;
}

#[tokio::test]
async fn an_outcome_can_be_read_later() {
    check(vec![
        get("/commands/c-1")
            .when(Answer::Accepted(1))
            .answers(200)
            .has("/status", "accepted")
            .has("/commandId", "c-1")
            .has("/commandType", "book-room")
            .has("/events/0/sequence", 41),
        get("/commands/c-1")
            .when(Answer::Rejected(Rejection::new("room-taken", "no")))
            .answers(200)
            .has("/status", "rejected")
            .has("/rejection/code", "room-taken"),
        get("/commands/c-1")
            .when(Answer::Failed("trapped\nguest backtrace:\n  secret()"))
            .answers(200)
            .has("/status", "failed")
            .has("/cause", "trapped"),
        get("/commands/c-1")
            .when(Answer::Pending)
            .answers(202)
            .header("location", "/commands/c-1")
            .has("", json!({ "commandId": "c-1", "status": "pending" })),
        get("/commands/c-1")
            .when(Answer::Parked("it waits behind dead letter 7 of its entity"))
            .answers(202)
            .header("location", "/commands/c-1")
            .has("/status", "parked"),
        get("/commands/c-1").when(Answer::Unknown).refuses(404, "unknown-command"),
        get("/commands/c-1").when(Answer::Away).refuses(503, "unavailable").header("retry-after", "1"),
        get("/commands/gr%C3%B6%C3%9Fe%2F1%3F").answers(200).has("/commandId", "größe/1?"),
        get("/commands/a.b").refuses(400, "invalid-id"),
        get("/commands/%20").refuses(400, "invalid-id"),
        get("/commands/%ff").refuses(400, "invalid-path"),
        get(&format!("/commands/{}", "x".repeat(1024))).refuses(400, "invalid-id"),
        get("/commands/").refuses(404, "unknown-route"),
        request("HEAD", "/commands/c-1").answers(200).header("content-type", "application/json"),
        request("HEAD", "/commands/c-1").when(Answer::Unknown).answers(404),
    ])
    .await;
}
