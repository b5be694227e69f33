//! Storing events: all or none, once, and only on the state they were decided on.

use futures::future::join_all;
use pelton_core::command::backlinks::Backlinks;
use pelton_core::command::ports::{AppendError, CommandStore};
use pelton_core::id::Sequence;
use pelton_core::store::ReadError;
use pelton_nats::{Gathered, StoreSettings};

use crate::entities::{Writer, decision, entity, event_in, ids, load, since, store};
use crate::support::TestServer;

const GROUPED: StoreSettings = StoreSettings { gathered: Gathered::Always, replicated: false };

#[tokio::test]
async fn events_are_stored_once_and_only_on_the_expected_state() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut writer = Writer::new(&store, "1");
    let (one, two) = (writer.append("c1", 1).await.unwrap(), writer.append("c2", 3).await.unwrap());
    assert_eq!((one, two), (vec![Sequence(1)], vec![Sequence(2), Sequence(3), Sequence(4)]));

    for count in [1, 3] {
        let late = decision(&writer.entity, &Backlinks::default(), "late", count);
        let error = store.append(&writer.entity, Sequence(1), &late).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict), "{error}");
    }

    server.crash().await;
    server.restart().await;
    assert_eq!(writer.append("c3", 1).await.unwrap(), [Sequence(5)]);
    let events = load(&store, &writer.entity).await;
    assert_eq!(ids(&events), ["c1:0", "c2:0", "c2:1", "c2:2", "c3:0"]);
    store.close().await;
}

#[tokio::test]
async fn a_decision_that_is_stored_already_is_never_stored_again() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    for count in [1, 3] {
        let mut writer = Writer::new(&store, &format!("{count}"));
        writer.append(&format!("c{count}"), count).await.unwrap();
        // As after a lost answer.
        let again = decision(&writer.entity, &Backlinks::default(), &format!("c{count}"), count);
        let error = store.append(&writer.entity, Sequence::NONE, &again).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict), "{error}");
        assert_eq!(load(&store, &writer.entity).await.len(), count as usize);
    }
    store.close().await;
}

/// Nobody's command is at fault: it is stored as soon as the stream is as it was.
#[tokio::test]
async fn a_stream_whose_settings_were_changed_refuses_nothing_for_good() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let mut stream = nats.jetstream().get_stream("hotel").await.unwrap();
    let config = stream.info().await.unwrap().config.clone();
    let mut writer = Writer::new(&store, "1");
    let changed = async_nats::jetstream::stream::Config { allow_atomic_publish: false, ..config.clone() };
    nats.jetstream().update_stream(changed).await.unwrap();
    let error = writer.append("c1", 2).await.unwrap_err();
    assert!(matches!(error, AppendError::Unclear(_)), "{error}");
    assert!(error.to_string().contains("settings were changed"), "{error}");
    nats.jetstream().update_stream(config).await.unwrap();
    assert_eq!(writer.append("c1", 2).await.unwrap(), [Sequence(1), Sequence(2)]);
    store.close().await;
}

#[tokio::test]
async fn decisions_that_wait_are_committed_in_one_group_and_keep_their_own_expectations() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, GROUPED).await;
    // Room 13 has an event that its writer does not know of.
    Writer::new(&store, "13").append("first", 1).await.unwrap();
    let mut writers: Vec<_> = (0..60).map(|room| Writer::new(&store, &room.to_string())).collect();
    let appends = writers.iter_mut().enumerate().map(|(n, writer)| async move {
        writer.append(&format!("c{n}"), 1 + u32::try_from(n % 3).unwrap()).await
    });
    for (n, result) in join_all(appends).await.into_iter().enumerate() {
        match n {
            13 => assert!(matches!(result, Err(AppendError::Conflict)), "{result:?}"),
            _ => assert_eq!(result.unwrap().len(), 1 + n % 3),
        }
    }
    for (n, writer) in writers.iter().enumerate().filter(|(n, _)| *n != 13) {
        let events = load(&store, &writer.entity).await;
        assert_eq!(events.len(), 1 + n % 3);
        assert_eq!(events.last().unwrap().sequence, writer.at);
    }
    store.close().await;
}

#[tokio::test]
async fn two_decisions_on_one_state_never_go_into_one_batch() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, GROUPED).await;
    for round in 0..5 {
        let entity = entity(&format!("r{round}"));
        let decisions =
            (0..10).map(|n| decision(&entity, &Backlinks::default(), &format!("c{round}-{n}"), 2));
        let decisions: Vec<_> = decisions.collect();
        let tries = decisions.iter().map(|events| store.append(&entity, Sequence::NONE, events));
        let stored = join_all(tries).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(stored, 1);
        assert_eq!(load(&store, &entity).await.len(), 2);
    }
    store.close().await;
}

#[tokio::test]
async fn what_can_never_be_stored_is_refused_and_leaves_nothing() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let entity = entity("1");
    let none = Backlinks::default();
    let mut too_large = decision(&entity, &none, "large", 2);
    event_in(&mut too_large[1]).data = vec![b'x'; 1024 * 1024].into();
    let mut too_large_alone = decision(&entity, &none, "alone", 1);
    event_in(&mut too_large_alone[0]).data = vec![b'x'; 1024 * 1024].into();
    let mut unsendable = decision(&entity, &none, "header", 1);
    unsendable[0].links.cause.decided_by = "a\r\nNats-Rollup: all".into();
    let too_many = decision(&entity, &none, "many", 1001);
    for events in [too_large, too_large_alone, unsendable, too_many, Vec::new()] {
        let error = store.append(&entity, Sequence::NONE, &events).await.unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{error}");
    }
    assert!(load(&store, &entity).await.is_empty());
    store.append(&entity, Sequence::NONE, &decision(&entity, &none, "c", 1)).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_server_that_is_away_makes_an_append_unclear() {
    let mut server = TestServer::start().await;
    let nats = server
        .connect_with(|settings| settings.request_timeout = std::time::Duration::from_millis(300))
        .await;
    let store = store(&nats, StoreSettings::default()).await;
    server.crash().await;
    for count in [1, 2] {
        let events = decision(&entity("1"), &Backlinks::default(), &format!("c{count}"), count);
        let error = store.append(&entity("1"), Sequence::NONE, &events).await.unwrap_err();
        assert!(matches!(error, AppendError::Unclear(_)), "{error}");
        let error = store.tail(&entity("1"), Sequence::NONE).await.unwrap_err();
        assert!(matches!(error, ReadError::Unavailable(_)), "{error}");
    }
    store.close().await;
}

#[tokio::test]
async fn three_replicas_keep_the_same_promises() {
    let servers = TestServer::start_cluster().await;
    let nats = servers[0].connect().await;
    let store = store(&nats, StoreSettings { replicated: true, ..StoreSettings::default() }).await;
    let mut writers: Vec<_> = (0..20).map(|room| Writer::new(&store, &room.to_string())).collect();
    for round in 0..3 {
        let appends = writers.iter_mut().map(|writer| async move {
            let command = format!("c{round}-{}", writer.entity.id());
            writer.append(&command, 1 + round % 2).await.unwrap();
            let again = decision(&writer.entity, &Backlinks::default(), &command, 1 + round % 2);
            let error = writer.store.append(&writer.entity, Sequence::NONE, &again).await.unwrap_err();
            assert!(!matches!(error, AppendError::Refused(_)), "{error}");
            let known = since(writer.store, &writer.entity, Sequence::NONE).await;
            assert_eq!(known.last().unwrap().sequence, writer.at);
        });
        join_all(appends).await;
    }
    for writer in &writers {
        assert_eq!(since(&store, &writer.entity, Sequence::NONE).await.len(), 4);
    }
    store.close().await;
}
