//! Outcomes: the first one stands, and nobody can have one announced where it would do harm.

use futures::StreamExt;
use pelton_core::id::CommandId;
use pelton_core::outcome::{Outcome, OutcomeRecord};
use pelton_core::ports::CommandStore;
use pelton_nats::StoreSettings;

use crate::entities::store;
use crate::support::{TestServer, outcome, soon};

#[tokio::test]
async fn the_first_outcome_of_a_command_stands() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let id = CommandId::new("c1").unwrap();
    assert_eq!(store.outcome(&id).await.unwrap(), None);
    let first = outcome(&id);
    let second = OutcomeRecord { outcome: Outcome::Failed { cause: "late".into() }, ..first.clone() };
    assert_eq!(store.record(first.clone()).await.unwrap(), first);
    assert_eq!(store.record(second.clone()).await.unwrap(), first);
    server.crash().await;
    server.restart().await;
    assert_eq!(store.record(second).await.unwrap(), first);
    assert_eq!(store.outcome(&id).await.unwrap(), Some(first));
    store.close().await;
}

#[tokio::test]
async fn of_many_writers_one_wins_on_three_replicas() {
    let servers = TestServer::start_cluster().await;
    let nats = servers[1].connect().await;
    let store = store(&nats, StoreSettings { replicated: true, ..StoreSettings::default() }).await;
    for n in 0..10 {
        let id = CommandId::new(format!("c{n}")).unwrap();
        let records = (0..8).map(|cause| OutcomeRecord {
            outcome: Outcome::Failed { cause: format!("{cause}") },
            ..outcome(&id)
        });
        let stood = futures::future::join_all(records.map(|record| store.record(record))).await;
        let standing = store.outcome(&id).await.unwrap().unwrap();
        for answer in stood {
            assert_eq!(answer.unwrap(), standing);
        }
    }
    store.close().await;
}

#[tokio::test]
async fn an_outcome_is_announced_to_inboxes_only() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let record = outcome(&CommandId::new("c1").unwrap());
    let hostile =
        ["booking.1.room-booked.v1", "$KV.bookings-v1.r.1", "_INBOX.>", "_INBOX.a b", "audit.outcome.c9", ""];
    for reply_to in hostile {
        store.announce(reply_to, &record).await;
    }
    let inbox = nats.client().new_inbox();
    let mut answers = nats.client().subscribe(inbox.clone()).await.unwrap();
    store.announce(&inbox, &record).await;
    let answer = soon(answers.next()).await.unwrap();
    assert_eq!(serde_json::from_slice::<OutcomeRecord>(&answer.payload).unwrap(), record);
    for stream in ["hotel", "AUDIT"] {
        let mut stream = nats.jetstream().get_stream(stream).await.unwrap();
        assert_eq!(stream.info().await.unwrap().state.messages, 0);
    }
    store.close().await;
}
