//! Sagas on a real server: instances and timers in one write, commands with an origin of their own, outcomes, positions.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::cloudevents;
use pelton_core::command::outcome::MarkOutcome;
use pelton_core::command::ports::{CommandStore, EntityMessage};
use pelton_core::consumer::EventFeed;
use pelton_core::dead_letter::{DeadLetterKind, DeadLetters};
use pelton_core::id::{CommandId, InputKey, InstanceId, Position, Sequence, source_of_saga};
use pelton_core::intake::CommandMessage;
use pelton_core::message::{EventType, Fingerprint, Headers, Incoming, Rejection};
use pelton_core::outcomes::{CommandReport, CommandResult};
use pelton_core::saga::input::{FIRED_BY, OwnInput};
use pelton_core::saga::instance::{ArmedTimer, Instance};
use pelton_core::saga::lead::{SagaPosition, Start};
use pelton_core::saga::ports::{SagaFeeds, SagaStore, Sent, TimerWrite};
use pelton_core::store::CommitError;
use pelton_core::subject::EntityTemplate;
use pelton_core::time::Timestamp;
use pelton_nats::sagas::{Changed, SagaTimes, SagaView};
use pelton_nats::subjects::COMMANDS;
use pelton_nats::topology::{EventStream, Topology};
use pelton_nats::{Nats, SagaStreamFeeds, SagaStreams, StoreSettings, StreamDeadLetters, StreamStore};
use tokio_util::sync::CancellationToken;

use crate::entities::{Writer, commands, hotel, mark};
use crate::parking::{dead_letter, message};
use crate::support::{TestServer, name, publish_events, soon};

const STREAM: &str = "SAGA-housekeeping";

async fn prepare(nats: &Nats, replicas: u8) -> SagaStreams {
    let topology = Topology {
        replicas,
        streams: vec![EventStream {
            name: name("hotel"),
            subjects: vec!["booking.>".into()],
            limits: pelton_nats::topology::StreamLimits::default(),
        }],
        sagas: vec![name("housekeeping")],
        ..hotel()
    };
    topology.ensure(nats).await.unwrap();
    store(nats, replicas)
}

fn store(nats: &Nats, replicas: u8) -> SagaStreams {
    let times = SagaTimes { nobody_takes: Duration::ZERO, ..SagaTimes::default() };
    SagaStreams::start(
        nats,
        &name("housekeeping"),
        &name("hotel"),
        commands(nats, replicas > 1),
        replicas > 1,
        times,
    )
}

fn feeds(nats: &Nats) -> SagaStreamFeeds {
    let entities = vec![EntityTemplate::parse("booking.{room}").unwrap()];
    let events = (name("hotel"), vec!["booking.>".to_owned()]);
    SagaStreamFeeds::new(nats, &name("housekeeping"), events, entities, CancellationToken::new()).unwrap()
}

fn instance(n: u8) -> Instance {
    let life = InputKey::of_event("hotel", Position { sequence: Sequence(7), part: 0 });
    Instance { state: Some(vec![n, b'\n', 255]), life: Some(life), state_version: 3, ..Instance::default() }
}

fn armed(n: u64, due: Timestamp) -> ArmedTimer {
    let life = InputKey::of_event("hotel", Position { sequence: Sequence(7), part: 0 });
    ArmedTimer { r#type: "unpaid".to_owned(), due, key: InputKey::of_timer(&life, n) }
}

fn set(id: &str, n: u64, due: Timestamp) -> TimerWrite {
    TimerWrite::Set { id: id.to_owned(), armed: armed(n, due), data: Bytes::from(vec![0, 1, 255]) }
}

fn cancel(id: &str) -> TimerWrite {
    TimerWrite::Cancel { id: id.to_owned() }
}

fn later(milliseconds: u64) -> Timestamp {
    Timestamp(Timestamp::now().0 + milliseconds * 1_000_000)
}

/// The next inputs of the saga's own.
async fn inputs(nats: &Nats, count: usize) -> Vec<(OwnInput, Timestamp)> {
    let mut feed = feeds(nats).own();
    let mut inputs = Vec::new();
    while inputs.len() < count {
        for item in soon(feed.next(10, 1024 * 1024)).await.unwrap() {
            assert_eq!(item.unreadable, None);
            inputs.push((OwnInput::from_bytes(&item.message.payload).unwrap(), item.message.stored_at));
        }
    }
    inputs
}

fn timers(inputs: &[(OwnInput, Timestamp)]) -> Vec<(String, String)> {
    let mut timers: Vec<_> = inputs
        .iter()
        .filter_map(|(input, at)| match input {
            OwnInput::Timer(fired) => {
                assert!(*at >= fired.armed.due, "{at} {fired:?}");
                assert_eq!(fired.data, [0, 1, 255][..]);
                Some((fired.id.clone(), fired.armed.key.to_string()))
            }
            OwnInput::Outcome(_) => None,
        })
        .collect();
    timers.sort();
    timers
}

#[tokio::test]
async fn an_instance_is_stored_only_on_the_revision_it_was_loaded_at() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let (id, other) = (InstanceId::new("1:2022-12-12").unwrap(), InstanceId::new("1").unwrap());
    assert_eq!(sagas.load(&id).await.unwrap(), (None, 0));
    let first = sagas.save(&id, &instance(1), &[], 0).await.unwrap();
    assert_eq!(sagas.load(&id).await.unwrap(), (Some(instance(1)), first));
    sagas.save(&other, &instance(5), &[], 0).await.unwrap();
    for stale in [0, first + 1] {
        let again = sagas.save(&id, &instance(2), &[], stale).await;
        assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    }
    let second = sagas.save(&id, &instance(2), &[], first).await.unwrap();
    server.crash().await;
    server.restart().await;
    let loaded = soon(async {
        loop {
            match sagas.load(&id).await {
                Ok(loaded) => break loaded,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    assert_eq!(loaded, (Some(instance(2)), second));
    // One that has ended is forgotten after a while.
    let times = SagaTimes { keep: Duration::from_secs(1), ..SagaTimes::default() };
    let sagas = SagaStreams::start(
        &nats,
        &name("housekeeping"),
        &name("hotel"),
        commands(&nats, false),
        false,
        times,
    );
    sagas.save(&id, &Instance { state: None, ..instance(3) }, &[], second).await.unwrap();
    soon(async {
        while sagas.load(&id).await.unwrap().0.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    sagas.save(&id, &instance(4), &[], 0).await.unwrap();
    assert_eq!(sagas.load(&other).await.unwrap().0, Some(instance(5)));
}

async fn timers_change_with_their_instance(nats: &Nats, replicas: u8) {
    let sagas = prepare(nats, replicas).await;
    let (a, b) = (InstanceId::new("a").unwrap(), InstanceId::new("b").unwrap());
    let hour = later(3_600_000);
    let writes =
        [set("t", 1, later(700)), set("u", 2, later(700)), set("v", 3, hour), set("w", 4, later(700))];
    let revision = sagas.save(&a, &instance(1), &writes, 0).await.unwrap();
    // Many writes at once are one batch, and each keeps its own condition.
    let (wrong, wrong_timers) = (instance(9), [cancel("t"), set("x", 9, later(0))]);
    let (right, right_timers) = (instance(1), [set("t", 1, later(700))]);
    let (conflict, stored) = tokio::join!(
        sagas.save(&a, &wrong, &wrong_timers, revision + 100),
        sagas.save(&b, &right, &right_timers, 0),
    );
    assert!(matches!(conflict, Err(CommitError::Conflict)), "{conflict:?}");
    stored.unwrap();
    // In one write: two are cancelled, one is set again, one that is far away goes off at once.
    let again = [cancel("u"), cancel("w"), set("v", 5, later(0))];
    let revision = sagas.save(&a, &instance(2), &again, revision).await.unwrap();
    // A single end rides on the instance's own message.
    let b_revision = sagas.load(&b).await.unwrap().1;
    sagas.save(&b, &instance(2), &[cancel("t")], b_revision).await.unwrap();
    let due = inputs(nats, 2).await;
    assert_eq!(
        timers(&due),
        [("t".to_owned(), "hotel:7t1".to_owned()), ("v".to_owned(), "hotel:7t5".to_owned())]
    );
    // The data are found before and after.
    sagas.save(&a, &instance(3), &[set("far", 6, Timestamp(u64::MAX))], revision).await.unwrap();
    for (id, armed, found) in [("far", armed(6, Timestamp(u64::MAX)), true), ("far", armed(7, hour), false)] {
        assert_eq!(sagas.timer_data(&a, id, &armed).await.unwrap().is_some(), found, "{id}");
    }
    let OwnInput::Timer(fired) = &due[0].0 else { panic!() };
    assert_eq!(sagas.timer_data(&a, &fired.id, &fired.armed).await.unwrap(), Some(fired.data.clone()));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(inputs(nats, 2).await.len(), 2, "nothing else has gone off");
}

#[tokio::test]
async fn timers_change_with_their_instance_or_not_at_all() {
    let server = TestServer::start().await;
    Box::pin(timers_change_with_their_instance(&server.connect().await, 1)).await;
}

#[tokio::test]
async fn timers_change_with_their_instance_on_three_replicas() {
    let servers = TestServer::start_cluster().await;
    Box::pin(timers_change_with_their_instance(&servers[0].connect().await, 3)).await;
}

#[tokio::test]
async fn timers_that_were_due_while_the_server_was_down_go_off_when_it_is_back() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let id = InstanceId::new("a").unwrap();
    let writes = [set("t", 1, later(300)), set("u", 2, later(2_000)), set("v", 3, later(300))];
    let revision = sagas.save(&id, &instance(1), &writes, 0).await.unwrap();
    sagas.save(&id, &instance(1), &[cancel("v")], revision).await.unwrap();
    server.crash().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.restart().await;
    let due = inputs(&server.connect().await, 2).await;
    assert_eq!(
        timers(&due),
        [("t".to_owned(), "hotel:7t1".to_owned()), ("u".to_owned(), "hotel:7t2".to_owned())]
    );
}

fn command(n: usize) -> (CommandId, Headers) {
    let (saga, instance) = (name("housekeeping"), InstanceId::new("1").unwrap());
    let input = InputKey::of_event("hotel", Position { sequence: Sequence(7), part: 0 });
    let id = CommandId::of_saga(&saga, &instance, &input, n).unwrap();
    let message = CommandMessage {
        id: &id,
        r#type: "book-room",
        source: &source_of_saga(&saga, &instance),
        time: None,
        datacontenttype: "application/json",
        extensions: &[],
        reply_to: None,
        expected: None,
        reference: Some("the-booking"),
    };
    let headers = message.headers();
    (id, headers)
}

// R1: any command under the id was taken for the saga's own, and any client could send one.
#[tokio::test]
async fn a_command_that_is_sent_again_is_logged_once_at_an_origin_of_its_own() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let (id, mut headers) = command(0);
    headers.push("Nats-Rollup", "all");
    // A client that guesses the id does not reach the subject.
    nats.client()
        .publish("command.book-room.saga:housekeeping:1:hotel:7:0", "squatted".into())
        .await
        .unwrap();
    for _ in 0..2 {
        let sent = sagas.send(headers.clone(), "book-room", &id, Bytes::from("{}")).await.unwrap();
        assert_eq!(sent, Sent::Logged);
    }
    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let subject = "command.book-room.saga:housekeeping:1:hotel:7:0.saga";
    let message = stream.direct_get_last_for_subject(subject).await.unwrap();
    assert_eq!((message.sequence, message.payload.as_ref()), (2, &b"{}"[..]));
    assert_eq!(message.headers.get("Pelton-Reference").unwrap().as_str(), "the-booking");
    assert!(message.headers.get("Nats-Rollup").is_none());
    let gateway = cloudevents::encode(&pelton_core::message::Event {
        source: "/gateway".to_owned(),
        ..crate::support::event(1)
    });
    for (headers, data) in [(headers.clone(), "{ }"), (gateway, "{}")] {
        let refused = sagas.send(headers, "book-room", &id, Bytes::from(data)).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("foreign command: message 2 of stream COMMANDS"), "{text}");
    }
    let large = Bytes::from(vec![b' '; nats.client().max_payload() + 1]);
    let refused = sagas.send(headers.clone(), "book-room", &id, large).await;
    assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");
    let sent = sagas.send(headers, "no-such-command", &id, Bytes::new()).await.unwrap();
    assert_eq!(sent, Sent::NobodyTakes);
}

// The outcome was lost with what was stored since the copy from which the saga's stream was restored.
#[tokio::test]
async fn a_command_that_has_ended_when_it_is_sent_again_is_told_again() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let store = StreamStore::start(&nats, &name("hotel"), StoreSettings::default());
    let mut writer = Writer::new(&store, "1");
    let data = Bytes::from(r#"{"room":"1"}"#);
    let rejection = Rejection::new("room-taken", "it is");
    let failed = MarkOutcome::Failed { cause: "it trapped".to_owned() };
    let cases = [
        (None, false, None),
        (Some(MarkOutcome::Accepted { events: 0 }), false, Some(CommandResult::Accepted(Vec::new()))),
        (
            Some(MarkOutcome::Rejected { rejection: rejection.clone() }),
            false,
            Some(CommandResult::Rejected(rejection)),
        ),
        (Some(failed.clone()), true, Some(CommandResult::SetAside("it trapped".to_owned()))),
        (Some(failed), false, Some(CommandResult::Failed("it trapped".to_owned()))),
    ];
    let mut expected = Vec::new();
    for (n, (ended, is_dead_letter, told)) in cases.into_iter().enumerate() {
        let (id, headers) = command(n);
        let send = || sagas.send(headers.clone(), "book-room", &id, data.clone());
        assert_eq!(send().await.unwrap(), Sent::Logged);
        if let Some(outcome) = ended {
            let mut mark = mark(&writer.entity, &writer.backlinks, id.as_str(), outcome, None);
            mark.links.cause.fingerprint = Fingerprint::of_command("book-room", &writer.entity, &data);
            if let EntityMessage::Mark(mark) = &mut mark.body {
                mark.fingerprint = Fingerprint::of_command("book-room", &writer.entity, &data);
            }
            writer.at = store.append(&writer.entity, writer.at, &[mark]).await.unwrap()[0];
        }
        if is_dead_letter {
            let subject = format!("command.book-room.{id}.saga");
            let message = Incoming { subject, ..message(1, id.as_str()) };
            let letter = dead_letter(DeadLetterKind::Failed, message);
            StreamDeadLetters::new(&nats, false).keep(letter).await.unwrap();
        }
        assert_eq!(send().await.unwrap(), Sent::Logged);
        expected.extend(told.map(|result| (id, result)));
    }
    let told = inputs(&nats, expected.len()).await.into_iter().map(|(input, _)| match input {
        OwnInput::Outcome(CommandReport { command_id, result, .. }) => (command_id, result),
        OwnInput::Timer(timer) => panic!("{timer:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
    store.close().await;
}

#[tokio::test]
async fn an_outcome_is_stored_once_and_a_saga_that_is_gone_is_told_nothing() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let report = |result| CommandReport {
        command_id: command(0).0,
        r#type: "book-room".to_owned(),
        reference: Some("the-booking".to_owned()),
        depth: 2,
        result,
    };
    let set_aside = report(CommandResult::SetAside("broken".to_owned()));
    let rejected = report(CommandResult::Rejected(Rejection::new("no", "no")));
    for report in [&set_aside, &rejected, &rejected, &set_aside] {
        SagaStore::report(&sagas, report).await.unwrap();
    }
    let inputs: Vec<_> = inputs(&nats, 2).await.into_iter().map(|(input, _)| input).collect();
    assert_eq!(inputs, [OwnInput::Outcome(set_aside), OwnInput::Outcome(rejected.clone())]);
    assert_eq!(inputs[0].instance(), InstanceId::new("1").ok());
    sagas.let_go(Sequence(1)).await.unwrap();
    let mut stream = nats.jetstream().get_stream(STREAM).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    nats.jetstream().delete_stream(STREAM).await.unwrap();
    SagaStore::report(&sagas, &rejected).await.unwrap();
}

#[tokio::test]
async fn a_position_is_kept_by_one_host_and_a_purge_is_noticed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    assert_eq!(sagas.position().await.unwrap(), None);
    let position = SagaPosition { host: "a".to_owned(), ..SagaPosition::default() };
    let first = sagas.keep_position(&position, 0).await.unwrap();
    let conflict = sagas.keep_position(&position, 0).await;
    assert!(matches!(conflict, Err(CommitError::Conflict)), "{conflict:?}");
    assert_eq!(sagas.position().await.unwrap(), Some((position, first)));
    publish_events(&nats, 1..=3).await;
    let at = later(0);
    publish_events(&nats, 4..=4).await;
    for (start, expected) in [
        (Start::Beginning, 0),
        (Start::Now, 4),
        (Start::Sequence(Sequence(3)), 2),
        (Start::Time(at), 3),
        (Start::Time(later(60_000)), 4),
    ] {
        assert_eq!(sagas.begin(&start).await.unwrap(), Sequence(expected), "{start:?}");
    }
    nats.jetstream().get_stream(STREAM).await.unwrap().purge().await.unwrap();
    let purged = sagas.position().await.unwrap_err().to_string();
    assert!(purged.contains("stream SAGA-housekeeping was purged"), "{purged}");
}

// R11: sagas read the events of all types.
#[tokio::test]
async fn the_server_leaves_out_events_of_other_types() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    for (n, kind) in (1..).zip(["room-booked", "guest-checked-in", "room-booked"]) {
        let event = crate::support::event(n);
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in cloudevents::encode(&event).iter() {
            headers.insert(name, value);
        }
        let subject = format!("booking.1.{kind}.v1");
        let ack = nats.jetstream().publish_with_headers(subject, headers, event.data).await.unwrap();
        ack.await.unwrap();
    }
    let wanted = [EventType { r#type: "room-booked".to_owned(), version: 1 }];
    let mut feed = feeds(&nats).events(&wanted);
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        numbers.extend(crate::support::numbers(&soon(feed.next(10, 1024 * 1024)).await.unwrap()));
    }
    assert_eq!(numbers, [1, 3]);
}

#[tokio::test]
async fn an_operator_lets_a_timer_go_off_and_ends_an_instance() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let sagas = prepare(&nats, 1).await;
    let id = InstanceId::new("a").unwrap();
    let hour = later(3_600_000);
    let mut armed_one = instance(1);
    armed_one.timers = ["t", "u"].map(|timer| (timer.to_owned(), armed(1, hour))).into();
    sagas.save(&id, &armed_one, &[set("t", 1, hour), set("u", 1, hour)], 0).await.unwrap();
    let view = SagaView::new(&nats, &name("housekeeping"));
    let mut ids = Vec::new();
    let all = view.each(|stored| {
        ids.push(stored.id);
        ControlFlow::Continue(())
    });
    assert!(all.await.unwrap().is_continue());
    assert_eq!(ids, std::slice::from_ref(&id));
    let stored = view.instance(&id).await.unwrap().unwrap();
    assert_eq!(view.fire(&stored, "t", "ada").await.unwrap(), Changed::Done);
    assert_eq!(view.fire(&stored, "t", "ada").await.unwrap(), Changed::Overtaken);
    let mut feed = feeds(&nats).own();
    let [item] = &soon(feed.next(10, 1024 * 1024)).await.unwrap()[..] else { panic!() };
    assert_eq!(item.message.headers.get(FIRED_BY), Some("ada"));
    assert_eq!(view.cancel(&stored, Duration::from_secs(60), "anna").await.unwrap(), Changed::Done);
    assert_eq!(view.cancel(&stored, Duration::from_secs(60), "anna").await.unwrap(), Changed::Overtaken);
    let (ended, _) = sagas.load(&id).await.unwrap();
    assert!(ended.unwrap().has_ended());
    let mut stream = nats.jetstream().get_stream(STREAM).await.unwrap();
    soon(async {
        // The instance and the input; the message that only cancelled is gone after a second.
        while stream.info().await.unwrap().state.messages != 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}
