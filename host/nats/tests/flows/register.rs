//! The register of commands: an entry is written only over the one that its writer has seen, and nobody can have an
//! outcome announced where it would do harm.

use futures::StreamExt;
use pelton_core::command::outcome::{
    Ahead, Answer, Claim, Entry, Outcome, OutcomeRecord, Registered, Revision,
};
use pelton_core::command::ports::CommandStore;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::time::Timestamp;
use pelton_nats::StoreSettings;

use crate::entities::store;
use crate::support::{TestServer, outcome, soon};

#[tokio::test]
async fn an_entry_is_written_only_over_the_one_that_was_seen() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let id = CommandId::new("c1").unwrap();
    let vacant = Registered { entry: Entry::Vacant, revision: Revision::NONE };
    assert_eq!(store.registered(&id).await.unwrap(), vacant);

    let claim = store.claim(&id, Claim::default(), Revision::NONE).await.unwrap().unwrap();
    assert_eq!(
        store.registered(&id).await.unwrap(),
        Registered { entry: Entry::Claimed(Claim::default()), revision: claim }
    );
    let outcome = outcome(&id);
    assert!(!store.record(&outcome, Revision::NONE).await.unwrap(), "the claim is in its way");
    let ahead = Claim { ahead: Some(Ahead { of: Sequence(7), since: Timestamp::now() }) };
    let other = store.claim(&id, ahead, claim).await.unwrap().unwrap();
    assert_eq!(store.registered(&id).await.unwrap().entry, Entry::Claimed(ahead));
    assert!(!store.record(&outcome, claim).await.unwrap(), "somebody else has claimed the id since");
    assert!(store.record(&outcome, other).await.unwrap());

    server.crash().await;
    server.restart().await;
    assert_eq!(store.claim(&id, ahead, other).await.unwrap(), None, "there is an outcome");
    assert_eq!(store.registered(&id).await.unwrap().entry, Entry::Outcome(outcome));
    assert_eq!(store.registered(&CommandId::new("c").unwrap()).await.unwrap(), vacant);
    store.close().await;
}

#[tokio::test]
async fn many_who_look_up_at_once_each_find_their_own() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let ids: Vec<_> = (0..700).map(|n| CommandId::new(format!("c{n}")).unwrap()).collect();
    let mut expected = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let mut registered = Registered::vacant();
        if n % 3 > 0 {
            let revision = store.claim(id, Claim::default(), Revision::NONE).await.unwrap().unwrap();
            registered = Registered { entry: Entry::Claimed(Claim::default()), revision };
        }
        if n % 3 > 1 {
            // Together they are more than one answer of the server holds.
            let cause = "x".repeat(20_000);
            let outcome = OutcomeRecord { outcome: Outcome::Failed { cause }, ..outcome(id) };
            assert!(store.record(&outcome, registered.revision).await.unwrap());
            registered = Registered { entry: Entry::Outcome(outcome), revision: registered.revision };
        }
        expected.push(registered);
    }
    let found = futures::future::join_all(ids.iter().map(|id| store.registered(id))).await;
    for (found, expected) in found.into_iter().zip(expected) {
        let found = found.unwrap();
        assert_eq!(found.entry, expected.entry);
        assert!(found.revision >= expected.revision);
    }
    store.close().await;
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_fails_its_own_command_only() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let ids: Vec<_> = (0..100).map(|n| CommandId::new(format!("c{n}")).unwrap()).collect();
    for id in &ids {
        store.claim(id, Claim::default(), Revision::NONE).await.unwrap().unwrap();
    }
    let (subject, unreadable) = ("audit.outcome.c7", "no outcome");
    nats.jetstream().publish(subject, unreadable.into()).await.unwrap().await.unwrap();
    let found = futures::future::join_all(ids.iter().map(|id| store.registered(id))).await;
    for (id, found) in ids.iter().zip(found) {
        match found {
            Ok(registered) => assert_eq!(registered.entry, Entry::Claimed(Claim::default()), "{id}"),
            Err(error) => {
                assert!(id.as_str() == "c7" && error.to_string().contains(subject), "{id}: {error}");
            }
        }
    }
    assert!(store.registered(&ids[7]).await.is_err());
    store.close().await;
}

#[tokio::test]
async fn of_many_writers_one_wins_on_three_replicas() {
    let servers = TestServer::start_cluster().await;
    let nats = servers[1].connect().await;
    let store = store(&nats, StoreSettings { replicated: true, ..StoreSettings::default() }).await;
    for n in 0..10 {
        let id = CommandId::new(format!("c{n}")).unwrap();
        let claim = if n % 2 == 0 {
            Revision::NONE
        } else {
            store.claim(&id, Claim::default(), Revision::NONE).await.unwrap().unwrap()
        };
        let records: Vec<_> = (0..8)
            .map(|n| OutcomeRecord { outcome: Outcome::Failed { cause: format!("{n}") }, ..outcome(&id) })
            .collect();
        let written =
            futures::future::join_all(records.iter().map(|record| store.record(record, claim))).await;
        let winners: Vec<_> = written
            .into_iter()
            .zip(records)
            .filter_map(|(written, record)| written.unwrap().then_some(record))
            .collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.registered(&id).await.unwrap().entry, Entry::Outcome(winners[0].clone()));
    }
    store.close().await;
}

#[tokio::test]
async fn an_outcome_is_announced_to_inboxes_only() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let answer = Answer::Ended(outcome(&CommandId::new("c1").unwrap()));
    let hostile =
        ["booking.1.room-booked.v1", "$KV.bookings-v1.r.1", "_INBOX.>", "_INBOX.a b", "audit.outcome.c9", ""];
    for reply_to in hostile {
        store.announce(reply_to, &answer).await;
    }
    let inbox = nats.client().new_inbox();
    let mut answers = nats.client().subscribe(inbox.clone()).await.unwrap();
    store.announce(&inbox, &answer).await;
    let told = soon(answers.next()).await.unwrap();
    assert_eq!(serde_json::from_slice::<Answer>(&told.payload).unwrap(), answer);
    for stream in ["hotel", "AUDIT"] {
        let mut stream = nats.jetstream().get_stream(stream).await.unwrap();
        assert_eq!(stream.info().await.unwrap().state.messages, 0);
    }
    store.close().await;
}

#[tokio::test]
async fn entries_that_are_gathered_are_each_written_over_what_was_seen() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings { gather_single_events: true, ..StoreSettings::default() }).await;
    let ids: Vec<_> = (0..200).map(|n| CommandId::new(format!("c{n}")).unwrap()).collect();
    for id in &ids[..10] {
        store.claim(id, Claim::default(), Revision::NONE).await.unwrap().unwrap();
    }
    // Each twice: of an id that is vacant one is written, of one that is claimed none.
    let outcomes: Vec<_> = ids.iter().chain(&ids).map(outcome).collect();
    let written = outcomes.iter().map(|outcome| store.record(outcome, Revision::NONE));
    let written = futures::future::join_all(written).await;
    for (n, id) in ids.iter().enumerate() {
        let count = [n, n + ids.len()].iter().filter(|at| *written[**at].as_ref().unwrap()).count();
        assert_eq!(count, usize::from(n >= 10), "{id}");
        let entry = store.registered(id).await.unwrap().entry;
        assert_eq!(matches!(entry, Entry::Outcome(_)), n >= 10, "{id} has {entry:?}");
    }
    server.crash().await;
    server.restart().await;
    assert!(matches!(store.registered(&ids[99]).await.unwrap().entry, Entry::Outcome(_)));
    store.close().await;
}
