//! tmp
use std::time::Duration;
use pelton_core::ports::{Delivery, Inbox};
use pelton_core::settle::Settlement;
use pelton_nats::ConsumerInbox;
use tokio::io::AsyncWriteExt;
use crate::entities::hotel;
use crate::support::{TestServer, name};

#[tokio::test]
async fn tmp_poison() {
    tracing_subscriber::fmt().with_env_filter("info,async_nats=debug").init();
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    let mut inbox = ConsumerInbox::of_handler(&nats, &name("booking"), 8).await.unwrap();
    let url = server.url();
    let mut raw = tokio::net::TcpStream::connect(url.strip_prefix("nats://").unwrap()).await.unwrap();
    raw.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").await.unwrap();
    let hdr = b"NATS/1.0\r\nbad: \xff\xfe\r\n\r\n";
    raw.write_all(format!("HPUB command.book-room.x1 {} {}\r\n", hdr.len(), hdr.len() + 2).as_bytes()).await.unwrap();
    raw.write_all(hdr).await.unwrap();
    raw.write_all(b"hi\r\n").await.unwrap();
    raw.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    nats.jetstream().publish("command.book-room.ok", "1".into()).await.unwrap().await.unwrap();
    for _ in 0..3 {
        match tokio::time::timeout(Duration::from_secs(5), inbox.next()).await {
            Ok(Some(d)) => { println!("GOT {:?}", d.message()); d.settle(Settlement::Ack).await; }
            o => println!("NOTHING {}", o.is_ok()),
        }
    }
}
