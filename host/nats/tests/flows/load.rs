//! Reading entities back.

use std::time::Duration;

use pelton_core::cloudevents::{self, CORRELATION_ID, TRACEPARENT};
use pelton_core::command::backlinks::{BACKLINKS, Backlinks};
use pelton_core::command::outcome::MarkOutcome;
use pelton_core::command::ports::{AppendError, CommandStore};
use pelton_core::contract::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS};
use pelton_core::id::{CommandId, Sequence};
use pelton_core::message::{Event, Fingerprint};
use pelton_nats::{Nats, StoreSettings};

use crate::entities::{Writer, decision, entity, event_in, ids, load, since, store};
use crate::support::{TestServer, soon};

/// Publishes an event as somebody who knows nothing of histories, or a wrong one.
async fn publish_foreign(nats: &Nats, subject: &str, id: &str, history: Option<&str>) -> Sequence {
    let event = event_in(&mut decision(&entity("1"), &Backlinks::default(), id, 1)[0]).clone();
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in cloudevents::encode(&event).iter() {
        headers.insert(name, value);
    }
    if let Some(history) = history {
        headers.insert(BACKLINKS, history);
    }
    let ack = nats.jetstream().publish_with_headers(subject.to_owned(), headers, event.data).await.unwrap();
    Sequence(ack.await.unwrap().sequence)
}

#[tokio::test]
async fn an_entity_is_read_back_through_its_chain_however_long_it_is() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    assert!(load(&store, &entity("1")).await.is_empty());
    let (mut one, mut other) = (Writer::new(&store, "1"), Writer::new(&store, "11"));
    let mut written = Vec::new();
    for n in 0..70 {
        let count = 1 + n % 3;
        written.extend((0..count).map(|i| format!("c{n}:{i}")));
        one.append(&format!("c{n}"), count).await.unwrap();
        other.append(&format!("d{n}"), 1).await.unwrap();
    }
    assert!(written.len() > 2 * 48);
    let events = load(&store, &one.entity).await;
    assert_eq!(ids(&events), written);
    let first = &events[0];
    let cause = &first.links.as_ref().unwrap().cause;
    assert_eq!(
        (&cause.command, &cause.fingerprint),
        (&CommandId::new("c0").unwrap(), &Fingerprint::of(&[b"c0"]))
    );
    assert_eq!((first.sequence, first.body.stream.as_ref()), (Sequence(1), "hotel"));
    assert!(first.body.recorded_at.0 > 0);
    assert_eq!(load(&store, &other.entity).await.len(), 70);
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
    assert_eq!(ids(&load(&store, &writer.entity).await), ["c1:0", "foreign:0"]);
    writer.backlinks.push(writer.at);
    writer.append("c2", 2).await.unwrap();
    let events = load(&store, &writer.entity).await;
    assert_eq!(ids(&events), ["c1:0", "foreign:0", "c2:0", "c2:1"]);
    assert!(events[1].links.is_none());
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
        let events = load(&store, &writer.entity).await;
        // A list that says "nothing before me" is taken at its word by a load, which may be behind; never by an append.
        let found = ids(&events);
        if room != "short" {
            assert_eq!(
                found,
                [format!("{command}:0"), format!("{command}:1"), format!("f-{room}:0")],
                "{room}"
            );
        }
        assert_eq!(events.last().unwrap().sequence, last);
    }
    store.close().await;
}

#[tokio::test]
async fn what_came_since_is_read_from_the_leader() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    assert!(since(&store, &writer.entity, Sequence::NONE).await.is_empty());
    for n in 0..60 {
        writer.append(&format!("c{n}"), 1 + n % 2).await.unwrap();
    }
    let all = load(&store, &writer.entity).await;
    for known in [0_usize, 1, 30, 85, 88, 89, 90] {
        let after = known.checked_sub(1).map_or(Sequence::NONE, |at| all[at].sequence);
        assert_eq!(ids(&since(&store, &writer.entity, after).await), ids(&all[known..]), "{known}");
    }
    let subject = writer.entity.event_subject("room-booked", 1);
    publish_foreign(&nats, &subject, "foreign", None).await;
    let since = since(&store, &writer.entity, all[88].sequence).await;
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
    event_in(&mut events[0]).extensions.extend(ours.into_iter().chain(theirs));
    event_in(&mut events[0]).datacontenttype = Some("x".repeat(MAX_ATTRIBUTE_BYTES));
    store.append(&entity("1"), Sequence::NONE, &events).await.unwrap();
    let read = load(&store, &entity("1")).await.remove(0).body.event;
    let sorted = |mut event: Event| {
        event.extensions.sort();
        event
    };
    assert_eq!(sorted(read), sorted(event_in(&mut events[0]).clone()));
    store.close().await;
}

// Every command that ends without events leaves a mark among its entity's messages.
#[tokio::test]
async fn marks_lie_among_the_events_until_their_time_and_are_found_by_their_command() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    let nothing = || MarkOutcome::Accepted { events: 0 };
    writer.append("c1", 2).await.unwrap();
    writer.mark("kept", nothing(), None).await.unwrap();
    let before = writer.at;
    let expired = writer.mark("expires", nothing(), Some(Duration::from_secs(1))).await.unwrap();
    assert_eq!(ids(&load(&store, &writer.entity).await), ["c1:0", "c1:1"]);
    let mark = async |id: &str| store.mark(&writer.entity, &CommandId::new(id).unwrap()).await.unwrap();
    assert_eq!(mark("kept").await.unwrap().body.command_id.as_str(), "kept");
    assert_eq!(mark("expires").await.unwrap().sequence, expired);
    assert!(mark("c1").await.is_none());
    // The entity's last message is the one before again, and an append has to expect that.
    soon(async {
        while mark("expires").await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(store.last(&writer.entity).await.unwrap().unwrap().sequence, before);
    let tail = store.tail(&writer.entity, Sequence(1)).await.unwrap();
    assert_eq!(tail.iter().map(|message| message.sequence.0).collect::<Vec<_>>(), [2, 3]);
    assert!(matches!(writer.append("late", 1).await, Err(AppendError::Conflict)));
    writer.at = before;
    writer.append("c2", 1).await.unwrap();
    assert_eq!(ids(&load(&store, &writer.entity).await), ["c1:0", "c1:1", "c2:0"]);
    store.close().await;
}
