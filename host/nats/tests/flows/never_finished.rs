//! A message that ends every host that handles it.

use std::time::Duration;

use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::id::Sequence;
use pelton_nats::dead_letters;
use serde_json::json;
use tokio::time::timeout;

use crate::consumer::{number, open, send, until_left};
use crate::support::{TestServer, soon};

/// After this time without a message nothing more is to come.
const QUIET: Duration = Duration::from_secs(5);

// R10: it came back for ever, to every host, and what was in hand beside it was never finished either.
#[tokio::test]
async fn a_message_that_no_host_finishes_is_handled_alone_and_then_set_aside() {
    const KILLER: usize = 2;
    let server = TestServer::start().await;
    let other = server.connect().await;
    drop(open(&other, 8).await);
    send(&other, 0..5).await;
    let (mut deaths, mut alone, mut came_after) = (0, 0, Vec::new());
    'hosts: loop {
        assert!(deaths < 20, "it comes for ever");
        let host = server.connect().await;
        let mut consumer = open(&host, 8).await;
        loop {
            let Ok(Some(delivery)) = timeout(QUIET, consumer.next()).await else { break 'hosts };
            let number = number(delivery.message());
            if number == KILLER {
                alone += usize::from(delivery.is_alone());
                break;
            }
            if number > KILLER && !came_after.contains(&number) {
                came_after.push(number);
            }
            delivery.settle(Settlement::Ack).await;
            host.flush().await.unwrap();
        }
        deaths += 1;
        // The server need not wait until the host is silent for long.
        let unpin = json!({ "group": "host" }).to_string();
        let unpinned = other.client().request("$JS.API.CONSUMER.UNPIN.COMMANDS.booking", unpin.into());
        unpinned.await.unwrap();
    }
    // The acknowledgements of the first two may get lost with the first host.
    assert!((7..=8).contains(&deaths), "{deaths}");
    assert_eq!(alone, 3);
    assert_eq!(came_after, [3, 4]);
    let kept = dead_letters::read(&other, Sequence(1)).await.unwrap().unwrap().dead_letter;
    assert_eq!((number(&kept.message), kept.consumer.as_str()), (KILLER, "booking"));
    assert!(kept.cause.contains("never finished"), "{}", kept.cause);
    until_left(&other, 0).await;
    assert!(soon(dead_letters::read(&other, Sequence(2))).await.unwrap().is_none());
}
