//! What `pelton status` reads.

use std::collections::BTreeMap;

use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters};
use pelton_core::id::Sequence;
use pelton_core::message::{Headers, Incoming};
use pelton_core::projection::ports::ViewStore;
use pelton_core::projection::view::Checkpoint;
use pelton_core::time::Timestamp;
use pelton_nats::status::{self, DeadLetterCount, Wanted, WantedSaga};
use pelton_nats::{BucketViews, StreamDeadLetters};

use crate::support::{TestServer, name, prepare, publish_events};

fn wanted() -> Wanted {
    Wanted {
        streams: vec![name("hotel")],
        handlers: vec![(name("booking"), pelton_core::partition::Partitions::ONE)],
        views: vec![(name("bookings"), name("hotel"))],
        sagas: vec![WantedSaga { name: name("nobody"), id: name("nobody"), stream: name("hotel") }],
    }
}

#[tokio::test]
async fn what_is_not_on_the_server_is_not_listed() {
    let server = TestServer::start().await;
    let status = status::read(&server.connect().await, &wanted()).await.unwrap();
    assert_eq!(serde_json::json!(status)["streams"], serde_json::json!([]));
    assert!(status.handlers.is_empty() && status.views.is_empty() && status.dead_letters.is_empty());
}

#[tokio::test]
async fn positions_lags_and_dead_letters_are_counted() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let bucket = prepare(&nats, 1).await;
    publish_events(&nats, 1..=3).await;
    nats.jetstream().publish("command.book-room.c-1", "".into()).await.unwrap().await.unwrap();
    let checkpoint = Checkpoint { position: Sequence(2), parked: BTreeMap::new(), revision: 0 };
    BucketViews::new(&nats, bucket).commit(&[], &checkpoint).await.unwrap();
    for (sequence, kind) in
        [(1, DeadLetterKind::Failed), (2, DeadLetterKind::Parked), (3, DeadLetterKind::Parked)]
    {
        StreamDeadLetters::new(&nats, false).keep(dead_letter(sequence, kind)).await.unwrap();
    }

    let status = status::read(&nats, &wanted()).await.unwrap();
    let hotel = status.streams.iter().find(|stream| stream.name == "hotel").unwrap();
    assert_eq!((hotel.messages, hotel.last), (3, Sequence(3)));
    assert_eq!((status.handlers[0].waiting, status.handlers[0].in_work), (1, 0));
    assert!(!status.handlers[0].is_asked);
    assert_eq!((status.views[0].version, status.views[0].position, status.views[0].lag), (1, Sequence(2), 1));
    assert!(status.sagas.is_empty());
    let counted = DeadLetterCount { consumer: "bookings".to_owned(), failed: 1, parked: 2 };
    assert_eq!(status.dead_letters, [counted]);

    // A mark is no event: a view does not lag behind it.
    let views = BucketViews::new(&nats, pelton_nats::Bucket::new(&name("bookings"), 1).unwrap());
    let read = views.checkpoint().await.unwrap();
    views.commit(&[], &Checkpoint { position: Sequence(3), ..read }).await.unwrap();
    nats.jetstream().publish("booking.1._mark.c-9", "".into()).await.unwrap().await.unwrap();
    let status = status::read(&nats, &wanted()).await.unwrap();
    assert_eq!((status.views[0].position, status.views[0].lag), (Sequence(3), 0));
}

fn dead_letter(sequence: u64, kind: DeadLetterKind) -> DeadLetter {
    DeadLetter {
        consumer: "bookings".to_owned(),
        key: Some("1".to_owned()),
        kind,
        message: Incoming {
            stream: name("hotel"),
            sequence: Sequence(sequence),
            subject: "booking.1.room-booked.v1".to_owned(),
            headers: Headers::default(),
            payload: Vec::new().into(),
            attempt: 1,
            stored_at: Timestamp::now(),
        },
        cause: "why".to_owned(),
        digest: None,
    }
}
