use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use pelton_core::client::{CommandStatus, Ingress, Submission, SubmitError};
use pelton_core::command::outcome::{Answer, MarkOutcome, Outcome};
use pelton_core::command::ports::CommandStore;
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::intake::{EXPECTED_SEQUENCE, REPLY_TO};
use pelton_core::message::{Fingerprint, Rejection};
use pelton_core::partition::Partitions;
use pelton_nats::StreamIngress;
use pelton_nats::subjects::COMMANDS;
use pelton_nats::{Nats, StoreSettings, StreamStore};
use tokio::task::JoinHandle;

use crate::entities::{Writer, commands, hotel};
use crate::poison::publish_raw;
use crate::support::{TestServer, name, outcome, prepare, soon};

const LONG: Duration = Duration::from_secs(20);

fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

fn command(text: &str) -> Submission {
    Submission {
        id: id(text),
        r#type: CommandType::new("book-room").unwrap(),
        correlation_id: Some("p".into()),
        causation_id: None,
        traceparent: None,
        datacontenttype: "application/json".into(),
        metadata: vec![("tenant".into(), "größe 1".into())],
        expected: Some(Sequence(4)),
        data: r#"{"room":"1"}"#.into(),
        fingerprint: Fingerprint::of(&[b"x"]),
    }
}

/// Accepts every command without events and tells whoever waits.
async fn handler(nats: &Nats) -> JoinHandle<()> {
    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let config = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("h".into()),
        ..Default::default()
    };
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let store = StreamStore::start(nats, &name("hotel"), StoreSettings::default());
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let id = id(message.subject.rsplit('.').next().unwrap());
            let mut writer = Writer::new(&store, "1");
            writer.at =
                store.last(&writer.entity).await.unwrap().map_or(Sequence::NONE, |last| last.sequence);
            writer.mark(id.as_str(), MarkOutcome::Accepted { events: 0 }, None).await.unwrap();
            if let Some(reply_to) = message.headers.as_ref().and_then(|h| h.get(REPLY_TO)) {
                store.reply(reply_to.as_str(), &Answer::Ended(outcome(&id))).await;
            }
            message.double_ack().await.unwrap();
        }
    })
}

#[tokio::test]
async fn the_outcome_comes_back_and_its_status_stays() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    assert!(matches!(ingress.status(&id("a")).await.unwrap(), CommandStatus::Unknown));

    // Nobody is there to decide it.
    let begin = Instant::now();
    assert_eq!(ingress.submit(command("a"), Duration::from_millis(200)).await.unwrap(), None);
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(ingress.waiters(), 0, "who has stopped waiting is forgotten");
    assert!(matches!(ingress.status(&id("a")).await.unwrap(), CommandStatus::Pending));

    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let stored = stream.direct_get_last_for_subject("command.book-room.a").await.unwrap();
    let header = |name: &str| stored.headers.get(name).unwrap().to_string();
    assert_eq!(header("ce-source"), "/gateway");
    assert_eq!(header("ce-id"), "a");
    assert_eq!(header("ce-tenant"), "gr%C3%B6%C3%9Fe%201");
    assert_eq!(header(EXPECTED_SEQUENCE), "4");
    assert!(header(REPLY_TO).starts_with("_INBOX."));

    let handler = handler(&nats).await;
    let answer = soon(ingress.submit(command("b"), LONG)).await.unwrap().unwrap();
    assert_eq!(answer.command_id(), "b");
    for ended in ["a", "b"] {
        let status = ingress.status(&id(ended)).await.unwrap();
        assert!(
            matches!(&status, CommandStatus::Ended(record) if record.command_id == id(ended)),
            "{status:?}"
        );
    }
    // Without a wait nobody is to be told.
    assert_eq!(ingress.submit(command("c"), Duration::ZERO).await.unwrap(), None);

    ingress.close().await;
    assert_eq!(
        soon(ingress.submit(command("d"), LONG)).await.unwrap(),
        None,
        "a closed ingress does not wait"
    );
    handler.abort();
}

#[tokio::test]
async fn ten_who_send_the_same_command_at_once_each_get_the_answer() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = Arc::new(StreamIngress::open(&nats, commands(&nats, false)).await.unwrap());
    let handler = handler(&nats).await;
    let answers = soon(join_all((0..10).map(|_| ingress.submit(command("same"), LONG)))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap().command_id() == "same"));
    let answers = soon(join_all((0..500).map(|n| ingress.submit(command(&format!("c{n}")), LONG)))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().unwrap().command_id(), format!("c{n}"));
    }
    assert_eq!(ingress.waiters(), 0);
    ingress.close().await;
    handler.abort();
}

/// Copies asked the server again and again, up to 500 times a second each. Here no end is ever stored, so they can only have
/// heard of it.
#[tokio::test]
async fn who_sends_a_copy_hears_the_outcome_with_the_first() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = Arc::new(StreamIngress::open(&nats, commands(&nats, false)).await.unwrap());
    let submit = || {
        let ingress = ingress.clone();
        tokio::spawn(async move { ingress.submit(command("same"), LONG).await.unwrap() })
    };
    let first = submit();
    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let logged = soon(async {
        loop {
            if let Ok(message) = stream.get_last_raw_message_by_subject("command.book-room.same").await {
                return message;
            }
        }
    })
    .await;
    let copies: Vec<_> = (0..3).map(|_| submit()).collect();
    soon(async {
        while ingress.waiters() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let store = StreamStore::start(&nats, &name("hotel"), StoreSettings::default());
    let reply_to = logged.headers.get(REPLY_TO).unwrap().as_str();
    // Not from whoever guesses the subject.
    let guess = format!("{}.999", reply_to.rsplit_once('.').unwrap().0);
    store.reply(&guess, &Answer::Ended(outcome(&id("same")))).await;
    nats.flush().await.unwrap();
    assert_eq!(ingress.waiters(), 4);
    store.reply(reply_to, &Answer::Ended(outcome(&id("same")))).await;
    for answer in soon(join_all(copies.into_iter().chain([first]))).await {
        assert_eq!(answer.unwrap().unwrap().command_id(), "same");
    }
    assert_eq!(ingress.waiters(), 0);
    ingress.close().await;
}

/// How many commands wait on their stream.
async fn stored(nats: &Nats) -> u64 {
    nats.jetstream().get_stream(COMMANDS).await.unwrap().cached_info().state.messages
}

/// Two copies that differ in time, metadata or expectation must never be in work on two hosts, and nobody is told that
/// a command is stored which is not.
#[tokio::test]
async fn an_id_is_logged_once_and_who_sends_the_command_again_gets_its_outcome() {
    for replicas in [1, 3] {
        let servers = match replicas {
            1 => vec![TestServer::start().await],
            _ => TestServer::start_cluster().await,
        };
        let nats = servers[0].connect().await;
        prepare(&nats, replicas).await;
        let ingress = Arc::new(StreamIngress::open(&nats, commands(&nats, replicas > 1)).await.unwrap());
        let same = Submission { expected: None, metadata: Vec::new(), ..command("a") };
        let another = Submission {
            data: r#"{"room":"1","another":1}"#.into(),
            fingerprint: Fingerprint::of(&[b"another"]),
            ..command("a")
        };
        let refused = async |wait| {
            let refused = ingress.submit(another.clone(), wait).await;
            assert!(matches!(refused, Err(SubmitError::IdInUse)), "{refused:?}");
        };
        for wait in [Duration::ZERO, Duration::from_millis(50)] {
            assert_eq!(ingress.submit(command("a"), wait).await.unwrap(), None);
            assert_eq!(ingress.submit(same.clone(), wait).await.unwrap(), None);
            refused(wait).await;
        }
        let waiting = tokio::spawn({
            let (ingress, same) = (ingress.clone(), same.clone());
            async move { ingress.submit(same, LONG).await }
        });
        soon(async {
            while ingress.waiters() < 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let handler = handler(&nats).await;
        let answer = soon(waiting).await.unwrap().unwrap();
        assert!(matches!(answer, Some(Answer::Ended(_))), "{answer:?}");
        // Also when it has ended long ago.
        let answer = soon(ingress.submit(same, LONG)).await.unwrap();
        assert!(matches!(answer, Some(Answer::Ended(_))), "{answer:?}");
        refused(LONG).await;
        assert_eq!(stored(&nats).await, 1);
        ingress.close().await;
        handler.abort();
    }
}

/// N4, N5: its status was "about to be retried", for ever; after its dead letter was dropped, "never stored".
#[tokio::test]
async fn what_is_no_command_has_failed_with_its_cause() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    nats.jetstream().publish("command.book-room.a", "no command".into()).await.unwrap().await.unwrap();
    let status = ingress.status(&id("a")).await.unwrap();
    assert!(
        matches!(&status, CommandStatus::Unreadable(why) if why.contains("not a CloudEvent")),
        "{status:?}"
    );
    let refused = ingress.submit(command("a"), Duration::ZERO).await;
    assert!(matches!(refused, Err(SubmitError::IdInUse)), "{refused:?}");
    ingress.close().await;
}

/// What ended with events has no mark: it is found among the entity's events, however many there are by then.
#[tokio::test]
async fn the_status_of_an_accepted_command_is_found_among_its_entitys_events() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    let store = StreamStore::start(&nats, &name("hotel"), StoreSettings::default());
    let mut writer = Writer::new(&store, "1");
    for n in 0..30 {
        writer.append(&format!("before{n}"), 10).await.unwrap();
    }
    ingress.submit(command("a"), Duration::ZERO).await.unwrap();
    assert!(matches!(ingress.status(&id("a")).await.unwrap(), CommandStatus::Pending));
    let stored = writer.append("a", 3).await.unwrap();
    for n in 0..30 {
        writer.append(&format!("after{n}"), 10).await.unwrap();
    }
    let CommandStatus::Ended(record) = ingress.status(&id("a")).await.unwrap() else { panic!() };
    // Its fingerprint is not that of the command in the log, so what is told is that the id was used before.
    let Outcome::Rejected { rejection } = record.outcome else { panic!("{record:?}") };
    assert_eq!((rejection.code.as_str(), stored.len()), (Rejection::ID_REUSED, 3));
    ingress.close().await;
    store.close().await;
}

#[tokio::test]
async fn close_lets_go_of_those_who_wait() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = Arc::new(StreamIngress::open(&nats, commands(&nats, false)).await.unwrap());
    let waiting = tokio::spawn({
        let ingress = ingress.clone();
        async move { ingress.submit(command("a"), LONG).await }
    });
    soon(async {
        while ingress.waiters() == 0 || !matches!(ingress.status(&id("a")).await, Ok(CommandStatus::Pending))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    ingress.close().await;
    assert_eq!(soon(waiting).await.unwrap().unwrap(), None);
}

/// While hosts are restarted with another number of partitions, those with the old one go on taking commands in.
#[tokio::test]
async fn commands_go_where_the_log_takes_them_whatever_the_host_is_configured_with() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    let booking = handler(&nats).await;
    assert!(soon(ingress.submit(command("a"), LONG)).await.unwrap().is_some());
    booking.abort();
    for consumer in ["h", "booking"] {
        nats.jetstream().get_stream(COMMANDS).await.unwrap().delete_consumer(consumer).await.unwrap();
    }
    let mut divided = hotel();
    divided.handlers[0].partitions = Partitions::new(2).unwrap();
    divided.plan(&nats).await.unwrap().carry_out(&nats).await.unwrap();

    let booking = handler(&nats).await;
    for same in ["a", "b", "b"] {
        assert!(soon(ingress.submit(command(same), LONG)).await.unwrap().is_some(), "{same}");
    }
    let mut log = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let state = log.info().await.unwrap().state.clone();
    assert_eq!(state.messages, 2, "each id is logged once");
    let last = log.get_raw_message(state.last_sequence).await.unwrap();
    assert!(last.subject.starts_with("command.book-room@"), "{}", last.subject);
    booking.abort();
    ingress.close().await;
}

#[tokio::test]
async fn what_the_server_cannot_take_says_why() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    let unavailable = |answer: Result<_, SubmitError>| match answer {
        Err(SubmitError::Unavailable(away)) => away.to_string(),
        other => panic!("{other:?}"),
    };
    let text = unavailable(soon(ingress.submit(command("a"), LONG)).await);
    assert!(text.contains("no server answers"), "{text}");
    let error = ingress.ready().await.unwrap_err().to_string();
    assert!(error.contains("COMMANDS: there is none"), "{error}");

    prepare(&nats, 1).await;
    ingress.ready().await.unwrap();
    let max = nats.client().max_payload();
    let large = |bytes: usize| Submission { data: vec![b' '; bytes].into(), ..command("large") };
    match ingress.submit(large(max), LONG).await {
        Err(SubmitError::TooLarge { bytes, max_bytes }) => assert!(bytes > max && max_bytes == max),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ingress.status(&id("large")).await.unwrap(), CommandStatus::Unknown));
    // What is counted is what is sent, give or take the digits of the time.
    let overhead = match ingress.submit(large(max), Duration::ZERO).await {
        Err(SubmitError::TooLarge { bytes, .. }) => bytes - max,
        other => panic!("{other:?}"),
    };
    let limit = max - overhead;
    assert!(matches!(
        ingress.submit(large(limit + 16), Duration::ZERO).await,
        Err(SubmitError::TooLarge { .. })
    ));
    assert!(ingress.submit(large(limit - 16), Duration::ZERO).await.unwrap().is_none());

    server.crash().await;
    let begin = Instant::now();
    assert!(ingress.ready().await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(2));
    let text = unavailable(soon(ingress.submit(command("b"), LONG)).await);
    assert!(text.contains("command.book-room.b"), "{text}");
    assert_eq!(ingress.waiters(), 0);

    server.restart().await;
    soon(async {
        while ingress.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // The subscription to outcomes is back with the connection.
    let handler = handler(&nats).await;
    assert!(soon(ingress.submit(command("c"), LONG)).await.unwrap().is_some());
    handler.abort();
    ingress.close().await;
}

/// R6: the subject for outcomes stands in every stored command. What comes there may break the connection.
#[tokio::test]
async fn a_bad_header_on_the_subject_for_outcomes_does_not_end_the_answers() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let ingress = StreamIngress::open(&nats, commands(&nats, false)).await.unwrap();
    assert_eq!(ingress.submit(command("a"), Duration::from_millis(50)).await.unwrap(), None);
    let stream = nats.jetstream().get_stream(COMMANDS).await.unwrap();
    let stored = stream.direct_get_last_for_subject("command.book-room.a").await.unwrap();
    let reply_to = stored.headers.get(REPLY_TO).unwrap().to_string();
    publish_raw(&server.url(), &[(&reply_to, b"NATS/1.0\r\nx: a\rb\r\n\r\n")]).await;

    let handler = handler(&nats).await;
    let answered = async {
        let mut n = 0;
        while ingress.submit(command(&format!("b{n}")), Duration::from_secs(1)).await.unwrap().is_none() {
            n += 1;
        }
    };
    soon(answered).await;
    ingress.alive().await.unwrap();
    ingress.close().await;
    handler.abort();
}
