//! The log of commands: what it takes, and what it lets go of.

use std::time::Duration;

use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::partition::Partition;
use pelton_nats::PullConsumer;
use pelton_nats::commands::log;

use crate::entities::hotel;
use crate::support::{TestServer, name, soon};

#[tokio::test]
async fn a_command_is_let_go_of_when_it_is_old_and_every_handler_has_ended_what_lies_before_it() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    assert_eq!(log::let_go(&nats, Duration::ZERO).await.unwrap(), 0, "an empty log");
    for n in 0..5 {
        let subject = format!("command.book-room.c{n}");
        nats.jetstream().publish(subject, "1".into()).await.unwrap().await.unwrap();
    }
    assert_eq!(log::let_go(&nats, Duration::ZERO).await.unwrap(), 0, "nothing has ended");
    let mut consumer =
        PullConsumer::of_partition(&nats, &name("booking"), Partition::WHOLE, 8).await.unwrap();
    let mut held = Vec::new();
    for n in 0..5 {
        let delivery = soon(consumer.next()).await.unwrap();
        if n == 2 { held.push(delivery) } else { delivery.settle(Settlement::Ack).await }
    }
    let let_go = async |keep, wanted| {
        soon(async {
            while log::let_go(&nats, keep).await.unwrap() != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    let_go(Duration::ZERO, 2).await;
    for delivery in held {
        delivery.settle(Settlement::Ack).await;
    }
    assert_eq!(
        log::let_go(&nats, Duration::from_secs(3600)).await.unwrap(),
        0,
        "they are kept as long as told"
    );
    let_go(Duration::ZERO, 3).await;
    // A handler that is never asked for anything does not hold them.
    let messages = nats.jetstream().get_stream("COMMANDS").await.unwrap().cached_info().state.messages;
    assert_eq!(messages, 0);
}

/// The first write counts for an id.
#[tokio::test]
async fn the_log_takes_an_id_once_and_the_types_of_handlers_only() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    hotel().ensure(&nats).await.unwrap();
    let publish =
        async |subject: &str| nats.jetstream().publish(subject.to_owned(), "1".into()).await.unwrap().await;
    publish("command.book-room.a").await.unwrap();
    let again = publish("command.book-room.a").await.unwrap_err().to_string();
    assert!(again.contains("maximum messages per subject"), "{again}");
    let unknown = publish("command.paint.a").await.unwrap_err().to_string();
    assert!(unknown.contains("no stream") || unknown.contains("no responders"), "{unknown}");
}
