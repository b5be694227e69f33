//! What is on the server, and what is said when it is something else.

use std::time::Duration;

use futures::future::join_all;
use pelton_core::id::CommandType;
use pelton_nats::topology::{EventStream, HandlerConsumer, SagaConsumer, Topology, TopologyError, View};

use crate::entities::hotel;
use crate::support::{TestServer, name};

fn everything() -> Topology {
    Topology {
        views: vec![View { name: name("bookings"), version: 1 }],
        sagas: vec![SagaConsumer { name: name("housekeeping"), stream: name("hotel") }],
        ..hotel()
    }
}

fn report(result: Result<(), TopologyError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn hosts_that_start_at_once_all_find_everything_and_find_it_again() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let topology = everything();
    for result in join_all((0..4).map(|_| topology.ensure(&nats))).await {
        result.unwrap();
    }
    topology.check(&nats).await.unwrap();
    server.crash().await;
    server.restart().await;
    topology.ensure(&nats).await.unwrap();
}

#[tokio::test]
async fn a_check_creates_nothing_and_lists_what_is_missing() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    for _ in 0..2 {
        let text = report(everything().check(&nats).await);
        for part in ["stream COMMANDS", "stream hotel", "stream KV_bookings-v1", "stream KV_snapshots"] {
            assert!(text.contains(&format!("{part}: is missing")), "{text}");
        }
        assert!(!text.contains("consumer"), "what a missing stream cannot have is not listed: {text}");
    }
}

#[tokio::test]
async fn all_differences_are_reported_at_once_and_nothing_is_changed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let week = Duration::from_secs(7 * 24 * 3600);
    let mut before = everything();
    before.outcome_retention = week;
    before.streams[0].subjects.push("cleaning.>".into());
    before.handlers[0].max_ack_pending = 7;
    before.handlers[0].commands.pop();
    before.ensure(&nats).await.unwrap();

    let text = report(everything().ensure(&nats).await);
    for line in [
        "stream AUDIT: field max_age: configured 14d, exists 7d",
        "stream hotel: field subjects: configured booking.>, exists booking.> cleaning.>",
        "consumer booking of stream COMMANDS: field max_ack_pending: configured 64, exists 7",
        "consumer booking of stream COMMANDS: field filter_subjects: configured command.book-room.* command.check-in.*, exists nothing",
        "nats stream edit AUDIT",
        "nats consumer edit COMMANDS booking",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    before.check(&nats).await.unwrap();
}

#[tokio::test]
async fn what_the_server_refuses_is_explained() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();

    let mut renamed = hotel();
    renamed.handlers[0].name = name("reservation");
    let text = report(renamed.ensure(&nats).await);
    assert!(text.contains("consumer reservation of stream COMMANDS: cannot be created"), "{text}");
    assert!(text.contains("perhaps of a handler that was renamed"), "{text}");

    let mut twice = hotel();
    twice.streams.push(EventStream { name: name("inn"), subjects: vec!["booking.inn.>".into()] });
    let text = report(twice.ensure(&nats).await);
    assert!(text.contains("stream inn: cannot be created") && text.contains("`nats stream ls`"), "{text}");

    let text = report(Topology { replicas: 3, ..hotel() }.ensure(&nats).await);
    assert!(text.contains("stream hotel: field num_replicas: configured 3, exists 1"), "{text}");
}

#[tokio::test]
async fn handlers_share_the_command_stream() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let mut two = hotel();
    let commands = vec![CommandType::new("report-cleaned").unwrap()];
    two.handlers.push(HandlerConsumer { name: name("cleaning"), commands, max_ack_pending: 1 });
    two.ensure(&nats).await.unwrap();
    two.check(&nats).await.unwrap();
}
