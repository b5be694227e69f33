//! Snapshots in their bucket, and what a load makes of them.

use bytes::Bytes;
use pelton_core::command::history::EntityHistory;
use pelton_core::command::ports::{CommandStore, HandlerDescriptor, StoredEvent};
use pelton_core::command::snapshot::{self, MAX_SNAPSHOT_BYTES, Snapshot, SnapshotKey};
use pelton_core::id::Sequence;
use pelton_core::message::EventType;
use pelton_core::plugin::Identity;
use pelton_core::store::CommitError;
use pelton_core::subject::Entity;
use pelton_nats::{Nats, StoreSettings};

use crate::entities::{Writer, entity, load, since, store};
use crate::support::TestServer;

fn key(state_version: u32, entity: &Entity) -> SnapshotKey {
    let identity = Identity { name: "booking".to_owned(), version: "1.0.0".to_owned() };
    let events = vec![EventType { r#type: "room-booked".to_owned(), version: 1 }];
    let commands = vec!["book-room".to_owned()];
    SnapshotKey::new(
        &HandlerDescriptor {
            identity,
            commands,
            emits: events.clone(),
            folds: events,
            rejections: Vec::new(),
            state_version,
            decides_ahead: false,
        },
        entity,
    )
}

async fn bucket(nats: &Nats) -> async_nats::jetstream::kv::Store {
    nats.jetstream().get_key_value("snapshots").await.unwrap()
}

#[tokio::test]
async fn the_last_one_kept_under_a_key_is_found_there_and_by_every_client() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let keys = [key(1, &entity("1")), key(2, &entity("1")), key(1, &entity("größe/ä"))];
    for key in &keys {
        assert_eq!(store.snapshot(key).await.unwrap(), None, "{key}");
        for text in ["old", "new"] {
            store.keep_snapshot(key, format!("{text} {key}").into()).await.unwrap();
        }
    }
    for key in &keys {
        assert_eq!(store.snapshot(key).await.unwrap(), Some(format!("new {key}").into()));
    }
    let bucket = bucket(&nats).await;
    let shown = bucket.get("booking.v1.booking.1").await.unwrap().unwrap();
    assert_eq!(shown, "new booking.v1.booking.1");
    bucket.delete("booking.v1.booking.1").await.unwrap();
    bucket.purge("booking.v2.booking.1").await.unwrap();
    for key in &keys[..2] {
        assert_eq!(store.snapshot(key).await.unwrap(), None, "{key}");
        store.keep_snapshot(key, "again".into()).await.unwrap();
        assert_eq!(store.snapshot(key).await.unwrap(), Some("again".into()), "{key}");
    }
    store.close().await;
}

#[tokio::test]
async fn the_largest_fits_and_what_the_server_or_the_bucket_cannot_hold_is_refused() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let key = key(1, &entity("1"));
    let largest = Bytes::from(vec![b'x'; MAX_SNAPSHOT_BYTES]);
    store.keep_snapshot(&key, largest.clone()).await.unwrap();
    assert_eq!(store.snapshot(&key).await.unwrap(), Some(largest.clone()));
    let larger = Bytes::from(vec![b'y'; 1 << 21]);
    assert!(matches!(store.keep_snapshot(&key, larger).await, Err(CommitError::Refused(_))));
    assert_eq!(store.snapshot(&key).await.unwrap(), Some(largest));
    let long = self::key(1, &entity(&"x".repeat(256)));
    assert!(matches!(store.keep_snapshot(&long, "x".into()).await, Err(CommitError::Refused(_))));
    assert_eq!(store.snapshot(&long).await.unwrap(), None);
    store.close().await;
}

#[tokio::test]
async fn a_past_goes_on_with_the_events_of_its_own_stream_only() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let (mut writer, mut other) = (Writer::new(&store, "1"), Writer::new(&store, "2"));
    let key = key(1, &writer.entity);
    let mut snapshots = Vec::new();
    // More than one event lists, so that the tail of an early snapshot is not in the last event's list.
    for n in 0..40 {
        writer.append(&format!("c{n}"), 1 + n % 3).await.unwrap();
        other.append(&format!("d{n}"), 1).await.unwrap();
        let mut past = EntityHistory::default();
        push(&mut past, &load(&store, &writer.entity).await);
        snapshots.push(snapshot::encode(&key, "sha256:0", &past, b"state").unwrap());
    }
    let all = load(&store, &writer.entity).await;
    for bytes in &snapshots {
        let Snapshot { history: mut past, state, .. } = snapshot::decode(bytes, &key).unwrap();
        let events = since(&store, &writer.entity, Sequence(past.last_event().0 - 1)).await;
        assert_eq!(past.joins(&events), Ok(()));
        push(&mut past, &events[1..]);
        let mut whole = EntityHistory::default();
        push(&mut whole, &all);
        assert_eq!((past, state.as_slice()), (whole, &b"state"[..]));
    }

    // The stream is made anew; the same room has events at the same places again.
    store.close().await;
    nats.jetstream().delete_stream("hotel").await.unwrap();
    let store = crate::entities::store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    writer.append("e", 1).await.unwrap();
    let mut other = Writer::new(&store, "2");
    for bytes in &snapshots[..3] {
        let past = snapshot::decode(bytes, &key).unwrap().history;
        let events = since(&store, &writer.entity, Sequence(past.last_event().0 - 1)).await;
        assert!(past.joins(&events).is_err(), "at {}", past.last_event());
        other.append(&format!("f{}", past.last_event()), 1).await.unwrap();
    }
    store.close().await;
}

fn push(past: &mut EntityHistory, events: &[StoredEvent]) {
    events.iter().for_each(|event| past.push(&event.body, event.links.as_ref().map(|links| &links.cause)));
}
