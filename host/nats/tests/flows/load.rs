//! Reading entities back.

use pelton_core::cloudevents::{self, CORRELATION_ID, TRACEPARENT};
use pelton_core::command::backlinks::{Backlinks, HISTORY};
use pelton_core::command::ports::CommandStore;
use pelton_core::contract::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS};
use pelton_core::id::{CommandId, Sequence};
use pelton_core::message::{Event, Fingerprint};
use pelton_nats::{Nats, StoreSettings};

use crate::entities::{Writer, decision, entity, ids, store};
use crate::support::TestServer;

/// Publishes an event as somebody who knows nothing of histories, or a wrong one.
async fn publish_foreign(nats: &Nats, subject: &str, id: &str, history: Option<&str>) -> Sequence {
    let event = decision(&entity("1"), &Backlinks::default(), id, 1).remove(0).event;
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in cloudevents::encode(&event).iter() {
        headers.insert(name, value);
    }
    if let Some(history) = history {
        headers.insert(HISTORY, history);
    }
    let ack = nats.jetstream().publish_with_headers(subject.to_owned(), headers, event.data).await.unwrap();
    Sequence(ack.await.unwrap().sequence)
}

#[tokio::test]
async fn an_entity_is_read_back_through_its_chain_however_long_it_is() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    assert!(store.load(&entity("1")).await.unwrap().is_empty());
    let (mut one, mut other) = (Writer::new(&store, "1"), Writer::new(&store, "11"));
    let mut written = Vec::new();
    for n in 0..70 {
        let count = 1 + n % 3;
        written.extend((0..count).map(|i| format!("c{n}:{i}")));
        one.append(&format!("c{n}"), count).await.unwrap();
        other.append(&format!("d{n}"), 1).await.unwrap();
    }
    assert!(written.len() > 2 * 48);
    let events = store.load(&one.entity).await.unwrap();
    assert_eq!(ids(&events), written);
    let first = &events[0];
    let cause = first.cause.as_ref().unwrap();
    assert_eq!(
        (&cause.command, &cause.fingerprint),
        (&CommandId::new("c0").unwrap(), &Fingerprint::of(&[b"c0"]))
    );
    assert_eq!((first.recorded.sequence, first.recorded.stream.as_ref()), (Sequence(1), "hotel"));
    assert!(first.recorded.recorded_at.0 > 0);
    assert_eq!(store.load(&other.entity).await.unwrap().len(), 70);
    store.close().await;
}

#[tokio::test]
async fn events_of_others_are_read_in_their_place() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    let subject = writer.entity.event_subject("room-booked", 1);
    writer.append("c1", 1).await.unwrap();
    writer.at = publish_foreign(&nats, &subject, "foreign", None).await;
    assert_eq!(ids(&store.load(&writer.entity).await.unwrap()), ["c1:0", "foreign:0"]);
    writer.history.push(writer.at);
    writer.append("c2", 2).await.unwrap();
    let events = store.load(&writer.entity).await.unwrap();
    assert_eq!(ids(&events), ["c1:0", "foreign:0", "c2:0", "c2:1"]);
    assert!(events[1].history.is_none());
    store.close().await;
}

#[tokio::test]
async fn a_list_that_does_not_add_up_is_not_believed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    for (room, list) in [
        ("missing", "2;1,999999"), // a sequence that is not there
        ("others", "1;1"),         // another entity's event
        ("short", "0;"),           // an event left out
        ("nonsense", "what is this"),
    ] {
        let mut writer = Writer::new(&store, room);
        let command = format!("c-{room}");
        writer.append(&command, 2).await.unwrap();
        let subject = writer.entity.event_subject("room-booked", 1);
        let last = publish_foreign(&nats, &subject, &format!("f-{room}"), Some(list)).await;
        let events = store.load(&writer.entity).await.unwrap();
        // A list that says "nothing before me" is taken at its word by a load, which may be behind; never by an append.
        let found = ids(&events);
        if room != "short" {
            assert_eq!(
                found,
                [format!("{command}:0"), format!("{command}:1"), format!("f-{room}:0")],
                "{room}"
            );
        }
        assert_eq!(events.last().unwrap().recorded.sequence, last);
    }
    store.close().await;
}

#[tokio::test]
async fn what_came_since_is_read_from_the_leader() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    assert!(store.since(&writer.entity, Sequence::NONE).await.unwrap().is_empty());
    for n in 0..60 {
        writer.append(&format!("c{n}"), 1 + n % 2).await.unwrap();
    }
    let all = store.load(&writer.entity).await.unwrap();
    for known in [0_usize, 1, 30, 85, 88, 89, 90] {
        let after = known.checked_sub(1).map_or(Sequence::NONE, |at| all[at].recorded.sequence);
        assert_eq!(ids(&store.since(&writer.entity, after).await.unwrap()), ids(&all[known..]), "{known}");
    }
    let subject = writer.entity.event_subject("room-booked", 1);
    publish_foreign(&nats, &subject, "foreign", None).await;
    let since = store.since(&writer.entity, all[88].recorded.sequence).await.unwrap();
    assert_eq!(ids(&since), ["c59:1", "foreign:0"]);
    store.close().await;
}

// R2: what a plugin may give at most could be stored, and not be read back.
#[tokio::test]
async fn an_event_with_all_that_the_contract_allows_is_read_back() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut events = decision(&entity("1"), &Backlinks::default(), "c", 1);
    let theirs = (0..MAX_EXTENSIONS).map(|n| (format!("x{n}"), format!(" \r\n\u{0}größe % {n} ")));
    let ours = [CORRELATION_ID, TRACEPARENT].map(|name| (name.to_owned(), "c".to_owned()));
    events[0].event.extensions.extend(ours.into_iter().chain(theirs));
    events[0].event.datacontenttype = Some("x".repeat(MAX_ATTRIBUTE_BYTES));
    store.append(&entity("1"), Sequence::NONE, &events).await.unwrap();
    let read = store.load(&entity("1")).await.unwrap().remove(0).recorded.event;
    let sorted = |mut event: Event| {
        event.extensions.sort();
        event
    };
    assert_eq!(sorted(read), sorted(events.remove(0).event));
    store.close().await;
}
