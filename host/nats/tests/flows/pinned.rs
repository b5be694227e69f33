//! The commands of a handler go to one host at a time, in order, over any number of hosts.

use std::time::Duration;

use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_nats::PullConsumer;

use crate::consumer::{number, open, send, until_left};
use crate::support::{Relay, TestServer, soon};

/// Longer than a host may be silent.
const SILENCE: Duration = Duration::from_secs(4);

/// The numbers of so many different commands, which are settled, in the order in which they come first.
async fn take(consumer: &mut PullConsumer, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let delivery = soon(consumer.next()).await.expect("it is not stopped");
        let number = number(delivery.message());
        if !numbers.contains(&number) {
            numbers.push(number);
        }
        delivery.settle(Settlement::Ack).await;
    }
    numbers
}

// R13: with the second host, commands of one entity were decided in any order.
#[tokio::test]
async fn a_host_that_takes_over_begins_with_what_the_one_before_left_in_order() {
    let server = TestServer::start().await;
    let (first_host, second_host) = (server.connect().await, server.connect().await);
    let mut first = open(&first_host, 8).await;
    send(&second_host, 0..10).await;
    let held = [soon(first.next()).await.unwrap(), soon(first.next()).await.unwrap()];
    soon(first.next()).await.unwrap().settle(Settlement::Ack).await;
    let mut second = open(&second_host, 8).await;
    assert!(
        tokio::time::timeout(Duration::from_secs(1), second.next()).await.is_err(),
        "the first has all of them"
    );
    assert_eq!(held.each_ref().map(|held| number(held.message())), [0, 1]);
    drop((first, held));
    // The third was settled, and is passed on all the same: whoever gets it finds its end.
    assert_eq!(take(&mut second, 10).await, (0..10).collect::<Vec<_>>());
    // What was delivered to the first comes again after the ack wait, and is acknowledged then.
    let rest = async {
        while let Some(delivery) = second.next().await {
            delivery.settle(Settlement::Ack).await;
        }
    };
    tokio::join!(until_left(&second_host, 0), async {
        let _ = tokio::time::timeout(Duration::from_secs(6), rest).await;
    });
}

#[tokio::test]
async fn a_host_that_has_all_that_it_can_hold_keeps_its_turn() {
    let server = TestServer::start().await;
    let (first_host, second_host) = (server.connect().await, server.connect().await);
    let mut first = open(&first_host, 1).await;
    send(&first_host, 0..1).await;
    let held = soon(first.next()).await.unwrap();
    let mut second = open(&second_host, 1).await;
    let other = tokio::spawn(async move { second.next().await.map(|delivery| number(delivery.message())) });
    for _ in 0..4 {
        tokio::time::sleep(SILENCE / 4).await;
        held.progress().await;
    }
    send(&first_host, 1..3).await;
    held.settle(Settlement::Ack).await;
    assert_eq!(take(&mut first, 2).await, [1, 2]);
    assert!(!other.is_finished());
    drop(first);
    send(&first_host, 3..4).await;
    assert_eq!(soon(other).await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_host_that_stops_lets_another_go_on() {
    let server = TestServer::start().await;
    let (first_host, second_host) = (server.connect().await, server.connect().await);
    let mut first = open(&first_host, 4).await;
    send(&first_host, 0..2).await;
    assert_eq!(take(&mut first, 2).await, [0, 1]);
    let mut second = open(&second_host, 4).await;
    first.stop_token().cancel();
    assert!(soon(first.next()).await.is_none());
    send(&first_host, 2..4).await;
    assert_eq!(take(&mut second, 2).await, [2, 3]);
}

// Commands that had come to a host while it stopped overtook the first of them.
#[tokio::test]
async fn a_host_that_gets_its_turn_while_it_stops_passes_nothing_on() {
    let server = TestServer::start().await;
    let (first_host, second_host) = (server.connect().await, server.connect().await);
    let mut first = open(&first_host, 8).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), first.next()).await.is_err(), "it has asked");
    send(&second_host, 0..4).await;
    first.stop_token().cancel();
    let passed_on = soon(first.next()).await.map(|delivery| number(delivery.message()));
    assert_eq!(passed_on, None);
    let mut second = open(&second_host, 8).await;
    assert_eq!(take(&mut second, 4).await, [0, 1, 2, 3]);
}

// Commands that got lost with a connection came again only after the ack wait, behind those that followed them.
#[tokio::test]
async fn a_host_that_lost_its_connection_begins_with_what_was_lost_on_it() {
    let server = TestServer::start().await;
    let relay = Relay::start(server.url()).await;
    let host = server.connect_with(|settings| settings.urls = vec![relay.url()]).await;
    let mut consumer = open(&host, 8).await;
    let other = server.connect().await;
    send(&other, 0..1).await;
    assert_eq!(take(&mut consumer, 1).await, [0]);
    until_left(&other, 0).await;
    relay.loses_answers(true);
    send(&other, 1..4).await;
    // They are on their way when the connection is lost.
    tokio::time::sleep(Duration::from_millis(100)).await;
    relay.cut();
    relay.loses_answers(false);
    let taken = tokio::spawn(async move { take(&mut consumer, 4).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    send(&other, 4..5).await;
    assert_eq!(soon(taken).await.unwrap(), [1, 2, 3, 4]);
}
