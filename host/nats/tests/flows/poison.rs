//! Messages that the client library cannot read: set aside like everything else that cannot be processed.

use std::time::Duration;

use pelton_core::id::Sequence;
use pelton_core::ports::{Delivery, Inbox};
use pelton_core::settle::Settlement;
use pelton_nats::topology::Topology;
use pelton_nats::{ConsumerInbox, dead_letters};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::entities::hotel;
use crate::support::{TestServer, name, soon};

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

#[tokio::test]
async fn messages_that_cannot_be_read_are_set_aside_and_the_others_go_on() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    Topology { ack_wait: Duration::from_secs(2), ..hotel() }.ensure(&nats).await.unwrap();
    let poison: [(&str, &[u8]); 3] = [
        ("command.book-room.p1", b"NATS/1.0\r\nce-id: \xff\xfe\r\nx: y\r\n\r\n"),
        ("command.check-in.p2", b"NATS/1.0\r\nno header\r\n\r\n"),
        ("command.book-room.p3", b"NATS/1.0\r\nx: a\rb\r\n\r\n"),
    ];
    publish_raw(&server.url(), &poison).await;
    // It can be read, and only looks like the server's own word.
    publish_raw(&server.url(), &[("command.book-room.s1", b"NATS/1.0 409 Consumer Deleted\r\n\r\n")]).await;
    nats.jetstream().publish("command.book-room.c1", "1".into()).await.unwrap().await.unwrap();

    let mut inbox = ConsumerInbox::of_handler(&nats, &name("booking"), 8).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        let delivery = soon(inbox.next()).await.unwrap();
        came.push(delivery.message().subject.clone());
        delivery.settle(Settlement::Ack).await;
    }
    came.sort();
    assert_eq!(came, ["command.book-room.c1", "command.book-room.s1"]);
    nats.flush().await.unwrap();
    soon(async {
        while nats.jetstream().get_stream("COMMANDS").await.unwrap().info().await.unwrap().state.messages > 0
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut kept = Vec::new();
    for sequence in 1..=3 {
        let letter = dead_letters::read(&nats, Sequence(sequence)).await.unwrap().unwrap().letter;
        assert_eq!((letter.consumer.as_str(), &letter.message.payload[..]), ("booking", &b"hi"[..]));
        assert!(letter.message.headers.get("Pelton-Raw-Headers").is_some());
        kept.push((letter.message.subject.clone(), letter.cause.clone()));
    }
    kept.sort();
    for ((subject, cause), (wanted, part)) in kept.iter().zip([
        ("command.book-room.p1", "no UTF-8"),
        ("command.book-room.p3", "bare carriage return"),
        ("command.check-in.p2", "without a colon"),
    ]) {
        assert!(subject == wanted && cause.contains(part), "{subject}: {cause}");
    }
}
