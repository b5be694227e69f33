//! Messages that the client library cannot read are set aside like all others that cannot be processed.

use std::time::Duration;

use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::id::Sequence;
use pelton_core::partition::Partition;
use pelton_nats::{Nats, PullConsumer, dead_letters};
use pelton_nats::{Topology, subjects::DEAD_LETTERS};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::entities::hotel;
use crate::support::{TestServer, name, soon};

/// The most bytes of a message that the dead-letter stream accepts after [`small_letters_only`].
pub(crate) const SMALL_LETTER_BYTES: usize = 1500;

/// Makes the dead-letter stream refuse larger messages, so that some dead letters cannot be kept.
pub(crate) async fn small_letters_only(nats: &Nats) {
    let mut stream = nats.jetstream().get_stream(DEAD_LETTERS).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_message_size = i32::try_from(SMALL_LETTER_BYTES).unwrap();
    nats.jetstream().update_stream(config).await.unwrap();
}

/// Publishes as a client could that writes its headers itself.
pub(crate) async fn publish_raw(url: &str, messages: &[(&str, &[u8])]) {
    let mut server = TcpStream::connect(url.strip_prefix("nats://").unwrap()).await.unwrap();
    let mut lines = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    for (subject, headers) in messages {
        let sizes = format!("HPUB {subject} {} {}\r\n", headers.len(), headers.len() + 2);
        lines.extend_from_slice(sizes.as_bytes());
        lines.extend_from_slice(headers);
        lines.extend_from_slice(b"hi\r\n");
    }
    server.write_all(&lines).await.unwrap();
    server.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Subject, headers, a part of the cause, and a header as it is kept.
type Poison<'a> = (&'a str, &'a [u8], &'a str, (&'a str, &'a str));

#[tokio::test]
async fn messages_that_cannot_be_read_are_set_aside_and_the_others_go_on() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    Topology { ack_wait: Duration::from_secs(2), ..hotel() }.ensure(&nats).await.unwrap();
    let poison: [Poison<'_>; 8] = [
        ("command.book-room.p1", b"NATS/1.0\r\nce-id: \xff\xfe\r\nx: y\r\n\r\n", "not UTF-8", ("x", "y")),
        ("command.book-room.p3", b"NATS/1.0\r\nx: a\rb\r\n\r\n", "bare carriage return", ("x", "a\rb")),
        ("command.book-room.p4", b"NATS/1.0\r\na b: c\r\n\r\n", "name \"a b\"", ("a b", "c")),
        ("command.book-room.p5", b"NATS/1.0\r\na : b\r\n\r\n", "name \"a \"", ("a ", "b")),
        ("command.book-room.p6", "NATS/1.0\r\ngröße: 7\r\n\r\n".as_bytes(), "größe", ("größe", "7")),
        ("command.book-room.p7", b"NATS/1.0\r\na\xff: b\r\n\r\n", "not UTF-8", ("a\u{fffd}", "b")),
        ("command.book-room.p8", b"NATS/1.0\r\nx: y\r\n z: 1\r\nno header\r\n\r\n", "colon", (" z", "1")),
        ("command.check-in.p2", b"NATS/1.0\r\nno header\r\nx: 100%25\r\n\r\n", "colon", ("x", "100%25")),
    ];
    let messages: Vec<_> = poison.iter().map(|(subject, headers, ..)| (*subject, *headers)).collect();
    publish_raw(&server.url(), &messages).await;
    // This one can be read, and only looks like a message of the server itself.
    publish_raw(&server.url(), &[("command.book-room.s1", b"NATS/1.0 409 Consumer Deleted\r\n\r\n")]).await;
    nats.jetstream().publish("command.book-room.c1", "1".into()).await.unwrap().await.unwrap();

    let mut consumer =
        PullConsumer::of_partition(&nats, &name("booking"), Partition::WHOLE, 8).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        let delivery = soon(consumer.next()).await.unwrap();
        came.push(delivery.message().subject.clone());
        delivery.settle(Settlement::Ack).await;
    }
    came.sort();
    assert_eq!(came, ["command.book-room.c1", "command.book-room.s1"]);
    nats.flush().await.unwrap();
    soon(async {
        let stream = nats.jetstream().get_stream("COMMANDS").await.unwrap();
        while stream.consumer_info("booking").await.unwrap().num_ack_pending > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut kept = Vec::new();
    for sequence in 1..=poison.len() as u64 {
        let dead_letter = dead_letters::read(&nats, Sequence(sequence)).await.unwrap().unwrap().dead_letter;
        assert_eq!(
            (dead_letter.consumer.as_str(), &dead_letter.message.payload[..]),
            ("booking", &b"hi"[..])
        );
        assert!(dead_letter.message.headers.get("Pelton-Raw-Headers").is_some());
        kept.push(dead_letter);
    }
    kept.sort_by(|a, b| a.message.subject.cmp(&b.message.subject));
    for (dead_letter, (subject, _, part, (name, value))) in kept.iter().zip(poison) {
        assert!(
            dead_letter.message.subject == subject && dead_letter.cause.contains(part),
            "{dead_letter:?}"
        );
        assert_eq!(dead_letter.message.headers.get(name), Some(value), "{dead_letter:?}");
    }
}

/// The dead-letter stream accepts small messages only, so the first cannot be kept.
#[tokio::test]
async fn one_that_cannot_be_set_aside_does_not_keep_the_others_from_it() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    // The connection breaks before the consumer knows that it is pinned, so it waits until it no longer is.
    Topology { ack_wait: Duration::from_secs(10), ..hotel() }.ensure(&nats).await.unwrap();
    small_letters_only(&nats).await;
    let long = format!("NATS/1.0\r\na b: {}\r\n\r\n", "x".repeat(SMALL_LETTER_BYTES));
    let messages: [(&str, &[u8]); 2] =
        [("command.book-room.p1", long.as_bytes()), ("command.book-room.p2", b"NATS/1.0\r\na b: c\r\n\r\n")];
    publish_raw(&server.url(), &messages).await;
    nats.jetstream().publish("command.book-room.c1", "1".into()).await.unwrap().await.unwrap();
    let mut consumer =
        PullConsumer::of_partition(&nats, &name("booking"), Partition::WHOLE, 1).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap();
    assert_eq!(delivery.message().subject, "command.book-room.c1");
    let dead_letter = dead_letters::read(&nats, Sequence(1)).await.unwrap().unwrap().dead_letter;
    assert_eq!(dead_letter.message.subject, "command.book-room.p2");
}
