//! Messages of durable consumers are held until they are settled, whatever happens to the server.

use std::time::{Duration, Instant};

use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::message::Incoming;
use pelton_core::partition::Partition;
use pelton_nats::topology::Topology;
use pelton_nats::{Nats, PullConsumer};

use crate::entities::hotel;
use crate::support::{TestServer, name, soon};

pub(crate) async fn open(nats: &Nats, prefetch: usize) -> PullConsumer {
    let topology = Topology { ack_wait: Duration::from_secs(2), ..hotel() };
    topology.ensure(nats).await.unwrap();
    PullConsumer::of_partition(nats, &name("booking"), Partition::WHOLE, prefetch).await.unwrap()
}

pub(crate) async fn send(nats: &Nats, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let subject = format!("command.book-room.c{n}");
        nats.jetstream().publish(subject, n.to_string().into()).await.unwrap().await.unwrap();
    }
}

async fn left(nats: &Nats) -> u64 {
    nats.flush().await.unwrap();
    let stream = nats.jetstream().get_stream("COMMANDS").await.unwrap();
    let info = stream.consumer_info("booking").await.unwrap();
    info.num_pending + info.num_ack_pending as u64
}

/// The consumer acknowledges in the background; the stream shows it a moment later.
pub(crate) async fn until_left(nats: &Nats, wanted: u64) {
    soon(async {
        while left(nats).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

pub(crate) fn number(message: &Incoming) -> usize {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

#[tokio::test]
async fn messages_come_in_order_and_are_gone_when_acknowledged() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 8).await;
    send(&nats, 0..50).await;
    for n in 0..50 {
        let delivery = soon(consumer.next()).await.unwrap();
        let message = delivery.message();
        assert_eq!((number(message), message.attempt), (n, 1));
        assert_eq!(
            (message.subject.clone(), message.stream.as_str()),
            (format!("command.book-room.c{n}"), "COMMANDS")
        );
        delivery.settle(Settlement::Ack).await;
    }
    until_left(&nats, 0).await;
}

#[tokio::test]
async fn a_message_comes_again_after_its_delay_or_when_it_is_let_go() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 8).await;
    send(&nats, 0..1).await;
    let first = soon(consumer.next()).await.unwrap();
    let asked = Instant::now();
    first.settle(Settlement::RetryAfter(Duration::from_millis(500))).await;
    let second = soon(consumer.next()).await.unwrap();
    assert_eq!(second.message().attempt, 2);
    assert!(asked.elapsed() >= Duration::from_millis(400), "{:?}", asked.elapsed());

    // Reports of progress keep it beyond the ack wait of 2 s; without them it is redelivered.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.progress().await;
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), consumer.next()).await.is_err());
    drop(second);
    let third = soon(consumer.next()).await.unwrap();
    assert_eq!(third.message().attempt, 3);
    third.settle(Settlement::Terminate("it is of no use:\nreally".into())).await;
    until_left(&nats, 0).await;
}

#[tokio::test]
async fn a_crash_of_the_server_loses_nothing() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 16).await;
    send(&nats, 0..100).await;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3 {
        for _ in 0..20 {
            let delivery = soon(consumer.next()).await.unwrap();
            seen.insert(number(delivery.message()));
            delivery.settle(Settlement::Ack).await;
        }
        server.crash().await;
        if round == 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        server.restart().await;
    }
    while seen.len() < 100 {
        let delivery = soon(consumer.next()).await.unwrap();
        seen.insert(number(delivery.message()));
        delivery.settle(Settlement::Ack).await;
    }
    // A message that was acknowledged just before a crash may be redelivered once.
    let rest = async {
        while let Some(delivery) = consumer.next().await {
            delivery.settle(Settlement::Ack).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), rest).await;
    until_left(&nats, 0).await;
}

#[tokio::test]
async fn a_consumer_that_was_deleted_is_waited_for() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 8).await;
    send(&nats, 0..1).await;
    soon(consumer.next()).await.unwrap().settle(Settlement::Ack).await;
    until_left(&nats, 0).await;
    let waiting = tokio::spawn(async move { consumer.next().await.map(|d| number(d.message())) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    nats.jetstream().delete_consumer_from_stream("booking", "COMMANDS").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    Topology { ack_wait: Duration::from_secs(2), ..hotel() }.ensure(&nats).await.unwrap();
    send(&nats, 1..2).await;
    // It hands out the whole log again, which does no harm: whoever decides finds what has ended.
    assert_eq!(soon(waiting).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_stopped_consumer_delivers_what_it_holds_and_leaves_the_rest() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 8).await;
    send(&nats, 0..30).await;
    let held = soon(consumer.next()).await.unwrap();
    consumer.stop_token().cancel();
    let mut handed_on = 1;
    while let Some(delivery) = soon(consumer.next()).await {
        assert_eq!(delivery.message().attempt, 1);
        delivery.settle(Settlement::Ack).await;
        handed_on += 1;
    }
    held.settle(Settlement::Ack).await;
    assert!(handed_on <= 16, "{handed_on}");
    until_left(&nats, 30 - handed_on).await;

    // No message is stranded: the next host gets all the rest at once.
    let mut next = PullConsumer::of_partition(&nats, &name("booking"), Partition::WHOLE, 8).await.unwrap();
    let started = Instant::now();
    for _ in handed_on..30 {
        soon(next.next()).await.unwrap().settle(Settlement::Ack).await;
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_idle_consumer_stops_at_once() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut consumer = open(&nats, 8).await;
    let token = consumer.stop_token();
    let waiting = tokio::spawn(async move { consumer.next().await.is_none() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    token.cancel();
    assert!(soon(waiting).await.unwrap());
    assert!(started.elapsed() < Duration::from_secs(1));
    nats.close().await.unwrap();
}
