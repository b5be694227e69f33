//! Queues of dead letters: parking and removal never miss each other. `PELTON_PARKING_SEED=n` replays a storm.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pelton_core::client::{CommandStatus, Ingress};
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters, OnFailure, Parking, RETRY_OF};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::time::Timestamp;
use pelton_nats::dead_letters::{self, Filter, Happening, KeptDeadLetter, Operator};
use pelton_nats::topology::Topology;
use pelton_nats::{Nats, StreamDeadLetters, StreamIngress};

use crate::entities::{commands, hotel};
use crate::support::{TestServer, name, soon};

pub(crate) const KEY: &str = "booking.1.2022-12-12";

pub(crate) fn message(sequence: u64, command: &str) -> Incoming {
    Incoming {
        stream: name("COMMANDS"),
        sequence: Sequence(sequence),
        subject: format!("command.book-room.{command}"),
        headers: [
            ("ce-specversion", "1.0"),
            ("ce-id", command),
            ("ce-source", "/test"),
            ("ce-type", "book-room"),
        ]
        .into_iter()
        .collect(),
        payload: r#"{"room":"1"}"#.into(),
        stored_at: Timestamp(7),
        attempt: 1,
    }
}

pub(crate) fn dead_letter(kind: DeadLetterKind, message: Incoming) -> DeadLetter {
    DeadLetter {
        consumer: "booking".to_owned(),
        key: Some(KEY.to_owned()),
        kind,
        message,
        cause: "it trapped\nguest backtrace:\n  decide".to_owned(),
        digest: Some("sha256:00".to_owned()),
    }
}

fn retry_of(dead_letter: u64, mut message: Incoming) -> Incoming {
    message.headers.push(RETRY_OF, dead_letter.to_string());
    message
}

pub(crate) struct Desk {
    pub(crate) nats: Nats,
    pub(crate) replicated: bool,
    pub(crate) dead_letters: StreamDeadLetters,
    consumer: Name,
    pub(crate) operator: Operator,
}

impl Desk {
    pub(crate) async fn open(nats: Nats, replicas: u8) -> Self {
        Topology { replicas, ..hotel() }.ensure(&nats).await.unwrap();
        let replicated = replicas > 1;
        let dead_letters = StreamDeadLetters::new(&nats, replicated);
        let operator = Operator::new(
            &nats,
            commands(&nats, replicated),
            replicated,
            "ada@desk".to_owned(),
            Duration::from_millis(200),
        );
        Self { nats, replicated, dead_letters, consumer: name("booking"), operator }
    }

    pub(crate) async fn fail(&self, sequence: u64, command: &str) {
        self.dead_letters
            .keep(dead_letter(DeadLetterKind::Failed, message(sequence, command)))
            .await
            .unwrap();
    }

    pub(crate) async fn last(&self) -> Option<u64> {
        self.dead_letters.last(&self.consumer, KEY).await.unwrap().map(|Sequence(n)| n)
    }

    async fn park(&self, sequence: u64, command: &str, last: u64) -> bool {
        let parked = dead_letter(DeadLetterKind::Parked, message(sequence, command));
        match self.dead_letters.keep_behind(parked, Sequence(last)).await.unwrap() {
            Parking::Parked => true,
            Parking::Overtaken => false,
            Parking::Failed(cause) => panic!("{command} has failed itself: {cause}"),
        }
    }

    pub(crate) async fn all(&self) -> Vec<KeptDeadLetter> {
        let (mut all, mut from) = (Vec::new(), Some(Sequence(1)));
        while let Some(start) = from {
            let page =
                dead_letters::page(&self.nats, &Filter::default(), start, self.replicated).await.unwrap();
            all.extend(page.dead_letters);
            from = page.next;
        }
        all
    }

    pub(crate) async fn commands(&self) -> Vec<String> {
        self.all().await.iter().map(|kept| kept.command().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) async fn drop(&self, sequence: u64) {
        let kept = dead_letters::describe(&self.nats, Sequence(sequence)).await.unwrap().unwrap();
        self.operator.drop(&kept, "no use").await.unwrap();
    }

    pub(crate) async fn happened(&self, dead_letter: u64) -> Vec<Happening> {
        let journal =
            dead_letters::journal(&self.nats, Sequence(dead_letter), self.replicated).await.unwrap();
        journal.into_iter().map(|entry| entry.what).collect()
    }
}

#[tokio::test]
async fn a_queue_lets_through_the_retry_of_its_first_letter_and_nobody_else() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    assert_eq!(desk.last().await, None);
    desk.fail(1, "a").await;
    assert_eq!(desk.last().await, Some(1));
    assert!(desk.park(2, "b", 1).await);
    assert!(!desk.park(3, "c", 1).await, "the last dead letter is another by now");
    assert!(desk.park(3, "c", 2).await);
    assert_eq!(desk.commands().await, ["a", "b", "c"]);

    for (message, expected) in [
        (retry_of(1, message(9, "a")), true),
        (retry_of(2, message(9, "b")), false),
        (retry_of(1, message(9, "forged")), false),
        (retry_of(99, message(9, "a")), false),
        (message(9, "a"), false),
    ] {
        let first = desk.dead_letters.is_retry(&desk.consumer, KEY, &message, OnFailure::Park).await.unwrap();
        assert_eq!(first, expected, "{message:?}");
    }
    for (message, expected) in
        [(retry_of(2, message(9, "b")), true), (retry_of(1, message(9, "forged")), false)]
    {
        let kept = desk.dead_letters.is_retry(&desk.consumer, KEY, &message, OnFailure::Skip).await.unwrap();
        assert_eq!(kept, expected, "where nothing waits its turn: {message:?}");
    }
    for (consumer, key) in [("booking", "booking.2.2022-12-12"), ("cleaning", KEY)] {
        assert_eq!(desk.dead_letters.last(&name(consumer), key).await.unwrap(), None, "{consumer} {key}");
    }
}

#[tokio::test]
async fn a_command_waits_once_however_often_it_is_sent() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    desk.fail(1, "a").await;
    for sequence in 2..5 {
        let last = desk.last().await.unwrap();
        assert!(desk.park(sequence, "b", last).await);
        assert!(desk.park(sequence, "a", last).await);
    }
    assert_eq!(desk.commands().await, ["a", "b"]);
    let ingress = StreamIngress::open(&desk.nats, commands(&desk.nats, false)).await.unwrap();
    for (id, part) in [("b", "it trapped"), ("a", "dead letter 1")] {
        let status = ingress.status(&CommandId::new(id).unwrap()).await.unwrap();
        assert!(
            matches!(&status, CommandStatus::Parked(parked) if parked.cause.contains(part)),
            "{status:?}"
        );
    }
    ingress.close().await;
}

/// Regression: after a crash between the two, the audit stream had no entry of a dead letter.
#[tokio::test]
async fn a_letter_that_was_parked_and_not_noted_is_noted_once_when_its_command_comes_again() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    desk.fail(1, "a").await;
    assert!(desk.park(2, "b", 1).await);
    let stream = desk.nats.jetstream().get_stream("DEAD_LETTERS").await.unwrap();
    let stored = stream.get_raw_message(2).await.unwrap();
    stream.delete_message(2).await.unwrap();
    let again = desk.nats.jetstream().publish_with_headers(stored.subject, stored.headers, stored.payload);
    assert_eq!(again.await.unwrap().await.unwrap().sequence, 3);
    assert_eq!(desk.happened(3).await, []);
    for _ in 0..2 {
        assert!(desk.park(2, "b", 3).await);
        let happened = desk.happened(3).await;
        assert!(matches!(&happened[..], [Happening::Kept { kind, .. }] if kind == "parked"), "{happened:?}");
    }
    assert_eq!(desk.commands().await, ["a", "b"]);
}

/// A command or an event may be redelivered after its dead letter is kept, if the consumer was not told.
#[tokio::test]
async fn what_has_failed_itself_is_not_parked_behind_its_own_letter() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    let event = Incoming { stream: name("hotel"), subject: "booking.1.x".into(), ..message(5, "event") };
    desk.fail(1, "a").await;
    desk.dead_letters.keep(dead_letter(DeadLetterKind::Failed, event.clone())).await.unwrap();
    for message in [message(1, "a"), event] {
        let again = DeadLetter { cause: "it waits".into(), ..dead_letter(DeadLetterKind::Parked, message) };
        let parking = desk.dead_letters.keep_behind(again, Sequence(2)).await.unwrap();
        assert_eq!(parking, Parking::Failed("it trapped\nguest backtrace:\n  decide".to_owned()));
    }
    assert_eq!(desk.all().await.len(), 2);
}

#[tokio::test]
async fn a_retry_that_fails_again_leaves_its_letter_in_its_place() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    desk.fail(1, "a").await;
    assert!(desk.park(2, "b", 1).await);
    let again = DeadLetter {
        cause: "worse".to_owned(),
        ..dead_letter(DeadLetterKind::Failed, retry_of(1, message(9, "a")))
    };
    desk.dead_letters.keep(again.clone()).await.unwrap();
    assert_eq!(desk.commands().await, ["a", "b"]);
    let kept = Happening::Kept {
        kind: "failed".to_owned(),
        cause: again.cause.replace("worse", "it trapped\nguest backtrace:\n  decide"),
    };
    assert_eq!(desk.happened(1).await, [kept, Happening::FailedAgain { cause: "worse".to_owned() }]);
    // The dead letter is not one of this message: a forged header loses nothing.
    desk.dead_letters.keep(dead_letter(DeadLetterKind::Failed, retry_of(1, message(10, "c")))).await.unwrap();
    assert_eq!(desk.commands().await, ["a", "b", "c"]);
}

/// The number of messages that come while an operator works on the queue: few, so that it is often about to be empty.
const PARKERS: usize = 4;

/// Messages are parked while an operator removes the dead letters, one after the other, until there are none.
async fn storm(desk: Arc<Desk>, seed: u64, lasting: Duration) -> (usize, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    desk.fail(1, "failed").await;
    let pauses: Vec<Duration> = (0..PARKERS).map(|_| lasting.mul_f64(rng.f64())).collect();
    let parkers = pauses.into_iter().zip(2..).map(|(pause, n)| {
        let desk = desk.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let command = format!("c{n}");
            loop {
                match desk.last().await {
                    None => return 0,
                    Some(last) if desk.park(n, &command, last).await => return 1,
                    Some(_) => {}
                }
            }
        })
    });
    let operator = tokio::spawn({
        let (desk, pause) = (desk.clone(), lasting.mul_f64(rng.f64() / 2.0));
        async move {
            tokio::time::sleep(pause).await;
            let mut dropped = 0;
            let mut next = desk.all().await.into_iter().next();
            while let Some(dead_letter) = next {
                desk.operator.drop(&dead_letter, "storm").await.unwrap();
                dropped += 1;
                next = desk.operator.next(&dead_letter).await.unwrap();
            }
            dropped
        }
    });
    let parked: Vec<usize> = join_all(parkers).await.into_iter().map(Result::unwrap).collect();
    let dropped: usize = operator.await.unwrap();
    assert_eq!(
        desk.commands().await,
        [""; 0],
        "they wait for nothing; replay with PELTON_PARKING_SEED={seed}"
    );
    let parked = parked.iter().sum();
    assert_eq!(dropped, parked + 1, "PELTON_PARKING_SEED={seed}");
    (parked, PARKERS - parked)
}

async fn storms(desk: Desk, count: u64, lasting: Duration) {
    let desk = Arc::new(desk);
    let named = std::env::var("PELTON_PARKING_SEED").ok().map(|seed| seed.parse().expect("a whole number"));
    let first: u64 = named.unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    println!("PELTON_PARKING_SEED={first}");
    let (mut parked, mut free) = (0, 0);
    for seed in first..first + if named.is_some() { 1 } else { count } {
        let (more_parked, more_free) = soon(storm(desk.clone(), seed, lasting)).await;
        (parked, free) = (parked + more_parked, free + more_free);
    }
    assert!(named.is_some() || (parked > 0 && free > 0), "the storms must do both: {parked} and {free}");
}

#[tokio::test]
async fn the_last_letter_and_who_parks_behind_it_never_miss_each_other() {
    let server = TestServer::start().await;
    storms(Desk::open(server.connect().await, 1).await, 60, Duration::from_millis(8)).await;
}

#[tokio::test]
async fn nor_do_they_on_three_replicas() {
    let servers = TestServer::start_cluster().await;
    storms(Desk::open(servers[1].connect().await, 3).await, 50, Duration::from_millis(80)).await;
}
