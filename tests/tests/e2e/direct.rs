//! Commands that a client publishes to NATS directly, without the gateway.

use async_nats::HeaderMap;
use futures::StreamExt;
use pelton_core::id::Sequence;
use pelton_nats::dead_letters::{self, KeptDeadLetter};
use pelton_nats::{ConnectSettings, Nats};
use pelton_tests::http::{Answer, Request};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::house::{Host, House, book, eventually};
use pelton_tests::PATIENCE;

const STRUCTURED: &str = "application/cloudevents+json";

pub(crate) async fn publish(house: &House, subject: &str, headers: &[(&str, &str)], payload: &str) {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| map.insert(*name, *value));
    let streams = house.streams().await;
    let stored =
        streams.jetstream().publish_with_headers(subject.to_owned(), map, payload.to_owned().into()).await;
    stored.expect("it is sent").await.expect("it is stored");
}

pub(crate) fn binary<'a>(id: &'a str, r#type: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/test"), ("ce-type", r#type)]
}

async fn outcome(host: &Host, id: &str) -> Answer {
    let request = Request::get(format!("/commands/{id}"));
    host.http.until(&request, |answer| answer.status == 200).await.expect("an outcome")
}

#[tokio::test]
async fn a_command_may_come_in_either_mode_of_cloudevents() {
    let house = House::open().await;
    let host = house.host().await;
    let data = |room: u64| json!({ "room": { "id": room }, "client": { "id": 1 }, "date": "2022-12-12" });

    let streams = house.streams().await;
    let inbox = streams.client().new_inbox();
    let mut answers = streams.client().subscribe(inbox.clone()).await.expect("a subscription");
    let mut headers = binary("binary", "book-room");
    headers.extend([("ce-correlationid", "a%20process"), ("Pelton-Reply-To", inbox.as_str())]);
    publish(&house, "command.book-room.binary", &headers, &data(1).to_string()).await;
    let announced = timeout(PATIENCE, answers.next()).await.expect("in time").expect("an outcome");
    let announced: serde_json::Value = serde_json::from_slice(&announced.payload).expect("JSON");
    assert_eq!((&announced["commandId"], &announced["status"]), (&json!("binary"), &json!("accepted")));

    let event = json!({
        "specversion": "1.0", "id": "structured", "source": "/test", "type": "book-room", "data": data(2),
        "correlationid": "another process", "causationid": "a call",
    });
    let headers = [("Content-Type", STRUCTURED)];
    publish(&house, "command.book-room.structured", &headers, &event.to_string()).await;
    // The rules are the same in either mode.
    let again = binary("again", "book-room");
    publish(&house, "command.book-room.again", &again, &data(1).to_string()).await;
    for (id, status, entity) in [
        ("binary", "accepted", "1.2022-12-12"),
        ("structured", "accepted", "2.2022-12-12"),
        ("again", "rejected", "1.2022-12-12"),
    ] {
        let answer = outcome(&host, id).await;
        assert_eq!(
            (answer.at("/status").as_str(), answer.at("/entity").as_str()),
            (status, entity),
            "{answer}"
        );
    }
    house.settle().await;
    house.each_once().await;
    let events = house.events().await;
    for (room, process) in [("1", "a%20process"), ("2", "another%20process")] {
        let of_room: Vec<_> =
            events.iter().filter(|event| event.subject.contains(&format!(".{room}."))).collect();
        assert_eq!(of_room.len(), 2, "{events:#?}");
        for event in of_room {
            assert_eq!(event.header("ce-correlationid"), process, "{event:?}");
        }
    }
    host.stop().await;
}

/// R9: its commands were tried without end, and held the places of all others in hand.
#[tokio::test]
async fn an_entity_whose_data_cannot_be_read_holds_up_nobody_else() {
    let house = House::open().await;
    let host = house.host().await;
    let stray = ["booking.1.2022-12-12.room-booked.v1", "booking.2.2022-12-12._mark.m"];
    for (room, subject) in (1..).zip(stray) {
        publish(&house, subject, &[], "no event").await;
        let id = &format!("c{room}");
        let answer = host.send(&book(id, room, 1)).await;
        assert_eq!((answer.status, answer.at("/code").as_str()), (500, "command-failed"), "{answer}");
        assert!(answer.at("/detail").contains(&format!("subject {subject}, cannot be read")), "{answer}");
        assert_eq!(host.get(&format!("/commands/{id}")).await.at("/status"), "failed");
        assert_eq!(host.send(&book(&format!("other-{room}"), 10 + room, 1)).await.status, 201);
    }
    host.stop().await;
}

/// The server obeys headers named `Nats-…`, so a client's may never reach an event.
#[tokio::test]
async fn nothing_that_a_client_says_to_the_server_is_on_an_event() {
    let house = House::open().await;
    let host = house.host().await;
    let forged = [
        ("Nats-Msg-Id", "forged-1"),
        ("Nats-Expected-Stream", "COMMANDS"),
        ("nats-forged", "forged-2"),
        ("NATS-Forged", "forged-3"),
        ("ce-natsforged", "forged-4"),
        ("ce-nats-rollup", "forged-5"),
    ];
    let data = r#"{"room":{"id":1},"client":{"id":1},"date":"2022-12-12"}"#;
    let headers = [&binary("binary", "book-room")[..], &forged].concat();
    publish(&house, "command.book-room.binary", &headers, data).await;
    let structured = json!({
        "specversion": "1.0", "id": "structured", "source": "/test", "type": "book-room", "natsrollup": "forged-6",
        "data": { "room": { "id": 2 }, "client": { "id": 1 }, "date": "2022-12-12" },
    });
    let headers = [&[("Content-Type", STRUCTURED)], &forged[1..4]].concat();
    publish(&house, "command.book-room.structured", &headers, &structured.to_string()).await;
    for id in ["binary", "structured"] {
        let answer = outcome(&host, id).await;
        assert_eq!(answer.at("/status"), "accepted", "{answer}");
    }
    let over_http =
        forged.iter().fold(book("http", 3, 1), |request, (name, value)| request.with(name, value));
    let answer = host.send(&over_http.with("Nats-Rollup", "all")).await;
    assert_eq!(answer.status, 201, "{answer}");
    house.settle().await;

    let events = house.events().await;
    assert_eq!(events.len(), 6, "each booking, and its cleaning: {events:#?}");
    for event in events {
        let prefix = event.subject.split('.').take(3).collect::<Vec<_>>().join(".");
        let ours = [
            ("Nats-Expected-Stream", "hotel"),
            ("Nats-Expected-Last-Subject-Sequence", "0"),
            ("Nats-Expected-Last-Subject-Sequence-Subject", &format!("{prefix}.>")),
        ];
        for (name, values) in event.headers.iter() {
            for value in values {
                assert!(!value.as_str().contains("forged"), "{name}: {value} in {event:#?}");
                let servers = name.to_string().to_ascii_lowercase().contains("nats");
                assert!(
                    !servers || ours.contains(&(name.as_ref(), value.as_str())),
                    "{name}: {value} in {event:#?}"
                );
            }
        }
    }
    host.stop().await;
}

/// Subject, headers, payload, and a part of the cause.
type Undecodable<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn what_cannot_be_decoded_is_set_aside_with_its_cause_and_blocks_nobody() {
    let house = House::open().await;
    let host = house.host().await;
    let room_1 = r#"{"room":{"id":1},"client":{"id":1},"date":"2022-12-12"}"#;
    let structured = [("Content-Type", STRUCTURED)];
    let other_version =
        [("ce-specversion", "2.0"), ("ce-id", "future"), ("ce-source", "/test"), ("ce-type", "book-room")];
    let cases: [Undecodable<'_>; 9] = [
        ("command.book-room.nothing", &[], room_1, "is not a CloudEvent"),
        ("command.book-room.broken", &structured, "{", "is not a CloudEvent in structured mode"),
        ("command.book-room.future", &other_version, room_1, "this host reads 1.0"),
        ("command.book-room.other", &binary("mine", "book-room"), room_1, "does not end in `book-room.mine`"),
        ("command.book-room.moved", &binary("moved", "check-in"), room_1, "does not end in `check-in.moved`"),
        ("command.book-room.text", &binary("text", "book-room"), "room 1, please", "is not JSON"),
        (
            "command.book-room.half",
            &binary("half", "book-room"),
            r#"{"room":{"id":1}}"#,
            "/date (the entity's day): it is missing",
        ),
        (
            "command.book-room.wild",
            &binary("wild", "book-room"),
            &room_1.replacen('1', "\">\"", 1),
            "contains '>'",
        ),
        ("command.check-in.empty", &binary("empty", "check-in"), "", "is not JSON"),
    ];
    for (subject, headers, payload, _) in cases {
        publish(&house, subject, headers, payload).await;
    }
    // Headers that are not text. No client library would send them.
    let raw = "command.book-room.raw";
    publish_raw(&house.nats.url(), raw, b"NATS/1.0\r\nce-id: \xff\xfe\r\n\r\n", b"raw").await;
    // It comes behind all of them, on the entity that they name.
    assert_eq!(host.send(&book("good", 1, 1)).await.status, 201);

    let dead_letters = dead_letters(&house, cases.len() + 1).await;
    let expected = cases.iter().map(|(subject, _, payload, cause)| (*subject, *payload, *cause));
    for (subject, payload, cause) in expected.chain([(raw, "raw", "not UTF-8")]) {
        let found: Vec<_> = dead_letters
            .iter()
            .map(|kept| &kept.dead_letter)
            .filter(|l| l.message.subject == subject)
            .collect();
        let [dead_letter] = found.as_slice() else { panic!("{subject} has {found:#?}") };
        assert!(dead_letter.cause.contains(cause), "{subject}: {}", dead_letter.cause);
        assert_eq!(dead_letter.message.payload, payload.as_bytes(), "{subject}");
        assert_eq!(dead_letter.consumer, "booking", "{subject}");
    }
    house.settle().await;
    let counts: Vec<_> = house.each_once().await.into_iter().collect();
    assert_eq!(counts, [("cleaning-scheduled".to_owned(), 1), ("room-booked".to_owned(), 1)]);
    host.stop().await;
}

/// The gateway has no route to such a command, but any client on NATS can send one.
#[tokio::test]
async fn who_publishes_what_no_handler_takes_is_told_at_once_and_what_is_no_command_is_set_aside() {
    let house = House::open().await;
    house.host().await.stop().await;
    let room_1 = r#"{"room":{"id":1},"client":{"id":1},"date":"2022-12-12"}"#;
    let streams = house.streams().await;
    for subject in ["command.paint-room.unknown", "command.short"] {
        let stored = streams.jetstream().publish(subject, room_1.into()).await.expect("it is sent").await;
        assert!(stored.is_err(), "{subject}: {stored:?}");
    }
    let subject = "command.book-room.too.long";
    publish(&house, subject, &binary("unknown", "book-room"), room_1).await;
    let host = house.host().await;
    let [kept] = dead_letters(&house, 1).await.try_into().expect("one dead letter");
    assert!(kept.dead_letter.cause.contains("does not end in `book-room.unknown`"), "{kept:?}");
    assert_eq!(
        (kept.dead_letter.message.subject.as_str(), &kept.dead_letter.message.payload[..]),
        (subject, room_1.as_bytes())
    );
    assert_eq!(host.send(&book("good", 1, 1)).await.status, 201);
    house.settle().await;
    host.stop().await;
}

/// All dead letters, once there are `count` of them.
async fn dead_letters(house: &House, count: usize) -> Vec<KeptDeadLetter> {
    let streams = house.streams().await;
    let last = eventually("the dead letters are kept", async || {
        let state = streams.info("DEAD_LETTERS").await?.state;
        let (found, wanted) = (state.messages, u64::try_from(count)?);
        anyhow::ensure!(found == wanted, "{found} of {wanted}");
        Ok(state.last_sequence)
    })
    .await;
    let nats = Nats::connect(&ConnectSettings::new(house.nats.url())).await.expect("the server");
    let mut dead_letters = Vec::new();
    for sequence in 1..=last {
        dead_letters.extend(dead_letters::read(&nats, Sequence(sequence)).await.expect("readable"));
    }
    dead_letters
}

/// Publishes as a client could that writes its headers itself.
async fn publish_raw(url: &str, subject: &str, headers: &[u8], payload: &[u8]) {
    let address = url.strip_prefix("nats://").expect("an address");
    let mut server = BufReader::new(TcpStream::connect(address).await.expect("the server"));
    let sizes = format!("HPUB {subject} {} {}\r\n", headers.len(), headers.len() + payload.len());
    let connect: &[u8] = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    let message = [connect, sizes.as_bytes(), headers, payload, b"\r\nPING\r\n"].concat();
    server.write_all(&message).await.expect("writable");
    // The server answers in order: after its PONG it has the message.
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        let read = timeout(PATIENCE, server.read_line(&mut line)).await.expect("in time").expect("readable");
        assert!(read > 0, "the server closed the connection");
    }
}
