//! An operator's actions on dead letters.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use pelton_core::client::CommandStatus;
use pelton_core::command::outcome::{MarkOutcome, Outcome};
use pelton_core::command::ports::{AppendError, CommandStore};
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters, Retries};
use pelton_core::id::{CommandId, Sequence};
use pelton_core::message::{Incoming, Rejection};
use pelton_core::time::Timestamp;
use pelton_nats::StoreSettings;
use pelton_nats::dead_letters::{self, Entry, Filter, Happening, Operator, Retried};

use crate::entities::{Writer, commands, store};
use crate::parking::{Desk, dead_letter, message};
use crate::support::{PATIENCE, TestServer, name, soon};

#[tokio::test]
async fn what_is_dropped_is_gone_with_its_parts_and_the_audit_stream_says_why() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    let large = Incoming { payload: vec![b'x'; 1024 * 1024].into(), ..message(1, "a") };
    desk.dead_letters.keep(dead_letter(DeadLetterKind::Failed, large.clone())).await.unwrap();
    desk.drop(1).await;
    let state = desk.nats.jetstream().get_stream("DEAD_LETTERS").await.unwrap().cached_info().state.clone();
    assert_eq!(state.messages, 0);
    assert_eq!(desk.last().await, None);
    let by = "ada@desk".to_owned();
    assert_eq!(desk.happened(1).await[1], Happening::Dropped { by, reason: "no use".to_owned() });
    // The same message may be kept and removed again, also after an interrupted removal.
    desk.dead_letters.keep(dead_letter(DeadLetterKind::Failed, large)).await.unwrap();
    let again = desk.all().await[0].clone();
    let stream = desk.nats.jetstream().get_stream("DEAD_LETTERS").await.unwrap();
    assert!(stream.purge().filter(format!("{}.part.*", again.subject)).await.unwrap().purged > 0);
    assert!(dead_letters::read(&desk.nats, again.sequence).await.unwrap().is_none());
    desk.drop(again.sequence.0).await;
    assert_eq!(desk.commands().await, [""; 0]);
}

/// Regression: a command was reported as dropped although it had taken effect.
#[tokio::test]
async fn a_command_that_has_ended_is_not_given_up_but_taken_out_with_its_outcome() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let desk = Desk::open(nats, 1).await;
    let mut writer = Writer::new(&store, "1");
    let rejected = MarkOutcome::Rejected { rejection: Rejection::new("room-taken", "it is") };
    let failed = MarkOutcome::Failed { cause: "it trapped".into() };
    let nothing = MarkOutcome::Accepted { events: 0 };
    let cases = [
        (None, Some("accepted")),
        (Some(nothing), Some("accepted")),
        (Some(rejected), Some("rejected")),
        (Some(failed), None),
    ];
    for ((ended, expected), n) in cases.into_iter().zip(1..) {
        let command = format!("c{n}");
        desk.fail(n, &command).await;
        match ended {
            Some(outcome) => drop(writer.mark(&command, outcome, None).await.unwrap()),
            None => drop(writer.append(&command, 2).await.unwrap()),
        }
        let [kept] = desk.all().await.try_into().unwrap();
        assert_eq!(desk.operator.drop(&kept, "no use").await.unwrap(), expected);
        let noted = match expected {
            Some(outcome) => Happening::Settled { outcome: outcome.to_owned() },
            None => Happening::Dropped { by: "ada@desk".to_owned(), reason: "no use".to_owned() },
        };
        assert_eq!(desk.happened(kept.sequence.0).await[1..], [noted]);
    }
    store.close().await;
}

/// N5: after a drop its status was "never stored"; and it would have been decided, had it come again.
#[tokio::test]
async fn a_command_that_is_given_up_undecided_has_failed() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let store = store(&nats, StoreSettings::default()).await;
    let desk = Desk::open(nats, 1).await;
    let mut writer = Writer::new(&store, "1");
    writer.append("first", 2).await.unwrap();
    let headers = message(1, "c1").headers;
    let mut wired = async_nats::HeaderMap::new();
    headers.iter().for_each(|(name, value)| wired.insert(name, value));
    let logged =
        desk.nats.jetstream().publish_with_headers("command.book-room.c1", wired, r#"{"room":"1"}"#.into());
    logged.await.unwrap().await.unwrap();
    desk.dead_letters.keep(dead_letter(DeadLetterKind::Parked, message(1, "c1"))).await.unwrap();
    let [kept] = desk.all().await.try_into().unwrap();
    assert_eq!(desk.operator.drop(&kept, "no use").await.unwrap(), None);
    let status = commands(&desk.nats, false).status(&CommandId::new("c1").unwrap()).await.unwrap();
    let CommandStatus::Ended(record) = status else { panic!("{status:?}") };
    assert_eq!(record.outcome, Outcome::Failed { cause: "dropped by ada@desk: no use".to_owned() });
    let last = store.last(&writer.entity).await.unwrap().unwrap();
    assert_eq!(last.links.unwrap().backlinks, writer.backlinks, "its mark leads to the entity's events");
    let late = writer.append("c1", 1).await.unwrap_err();
    assert!(matches!(late, AppendError::Conflict), "{late}");
    store.close().await;
}

#[tokio::test]
async fn a_listing_takes_what_its_filter_says_in_order() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    for n in 1..=120 {
        desk.fail(n, &format!("c{n}")).await;
    }
    let cleaning = DeadLetter {
        consumer: "cleaning".to_owned(),
        key: None,
        ..dead_letter(DeadLetterKind::Failed, message(500, "z"))
    };
    desk.dead_letters.keep(cleaning).await.unwrap();
    assert_eq!(desk.all().await.len(), 121);
    let since = desk.all().await[100].kept_at;
    let any = Filter::default();
    for (filter, expected) in [
        (Filter { consumer: Some("cleaning".to_owned()), ..any.clone() }, &["z"][..]),
        (Filter { key: Some("booking.1.2022-12-13".to_owned()), ..any.clone() }, &[]),
        (Filter { kind: Some(DeadLetterKind::Parked), ..any.clone() }, &[]),
        (Filter { stream: Some("hotel".to_owned()), ..any.clone() }, &[]),
        (Filter { command: Some(CommandId::new("c7").unwrap()), ..any.clone() }, &["c7"]),
        (Filter { until: Some(desk.all().await[2].kept_at), ..any.clone() }, &["c1", "c2"]),
    ] {
        let mut found = Vec::new();
        let page = dead_letters::page(&desk.nats, &filter, Sequence(1), false).await.unwrap();
        found.extend(page.dead_letters.iter().map(|kept| kept.command().unwrap_or_default().to_owned()));
        assert_eq!(found, expected, "{filter:?}");
    }
    let late = desk.all().await.into_iter().filter(|kept| kept.kept_at >= since).count();
    assert_eq!(late, 21);
}

/// Regression: on three replicas, a replica that was behind answered.
#[tokio::test]
async fn where_replicas_may_be_behind_letters_and_journals_come_from_the_leader() {
    let server = TestServer::start().await;
    let mut desk = Desk::open(server.connect().await, 1).await;
    for n in 1..=120 {
        desk.fail(n, &format!("c{n}")).await;
    }
    let mut direct = desk.nats.client().subscribe("$JS.API.DIRECT.GET.>").await.unwrap();
    for replicated in [false, true] {
        desk.replicated = replicated;
        let commands: Vec<_> = (1..=120).map(|n| format!("c{n}")).collect();
        assert_eq!(desk.commands().await, commands);
        assert_eq!(desk.happened(7).await.len(), 1);
        desk.nats.flush().await.unwrap();
        let asked = std::iter::from_fn(|| direct.next().now_or_never().flatten()).count();
        assert_eq!(asked > 0, !replicated, "{asked} direct reads");
    }
}

/// Regression: only the first thousand entries were read, so the end of a long history was missing.
#[tokio::test]
async fn a_journal_is_read_to_its_end() {
    const RETRIES: usize = 1_200;
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    let entry = |what: Happening| Entry {
        dead_letter: Sequence(7),
        consumer: "booking".to_owned(),
        key: None,
        at: Timestamp(7),
        what,
    };
    let mut acks = Vec::new();
    for n in 0..=RETRIES {
        let (subject, what) = match n {
            RETRIES => ("settled".to_owned(), Happening::Settled { outcome: "accepted".to_owned() }),
            _ => (format!("retried.{n}"), Happening::Retried { by: n.to_string() }),
        };
        let payload = serde_json::to_vec(&entry(what)).unwrap();
        let subject = format!("audit.dead-letter.7.{subject}");
        acks.push(desk.nats.jetstream().publish(subject, payload.into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
    let happened = desk.happened(7).await;
    let last = Happening::Settled { outcome: "accepted".to_owned() };
    assert_eq!((happened.len(), happened.last()), (RETRIES + 1, Some(&last)));
}

#[tokio::test]
async fn what_nobody_takes_is_not_retried_and_nothing_is_sent() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    let mut unroutable = dead_letter(DeadLetterKind::Failed, message(1, "a"));
    (unroutable.consumer, unroutable.key, unroutable.message.subject) =
        ("painting".into(), None, "command.paint.a".into());
    unroutable.message.headers =
        [("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-source", "/test"), ("ce-type", "paint")]
            .into_iter()
            .collect();
    desk.dead_letters.keep(unroutable).await.unwrap();
    desk.fail(1, "a").await;
    let [unroutable, taken] = desk.all().await.try_into().unwrap();
    let retried = desk.operator.retry(&unroutable).await.unwrap();
    assert!(matches!(&retried, Retried::Impossible(why) if why.contains("paint")), "{retried:?}");
    let commands =
        async || desk.nats.jetstream().get_stream("COMMANDS").await.unwrap().cached_info().state.messages;
    assert_eq!(commands().await, 0);
    // A handler is configured for this one, but none is running.
    for _ in 0..2 {
        assert_eq!(desk.operator.retry(&taken).await.unwrap(), Retried::Unanswered);
        assert_eq!(commands().await, 1, "an interrupted retry is not sent twice");
    }
    assert_eq!(desk.commands().await, ["a", "a"]);
}

/// Regression: an operator took a request that a host was working on for its own, and the end of that work removed a
/// newer request. The waiting events were not retried until an operator asked again.
#[tokio::test]
async fn who_asks_while_a_retry_runs_gets_one_that_begins_afterwards() {
    let server = TestServer::start().await;
    let desk = Desk::open(server.connect().await, 1).await;
    let patient =
        || Operator::new(&desk.nats, commands(&desk.nats, false), false, "ada@desk".to_owned(), PATIENCE);
    let ask = |operator: Operator| tokio::spawn(async move { operator.ask("bookings", "1").await.unwrap() });
    let view = name("bookings");
    let request = async || {
        loop {
            if let Some(request) = desk.dead_letters.request(&view).await.unwrap() {
                return request;
            }
            tokio::task::yield_now().await;
        }
    };
    let first_asks = ask(patient());
    let first = soon(request()).await;
    assert!(!desk.operator.ask("bookings", "1").await.unwrap(), "nobody has begun anew");
    let second_asks = ask(patient());
    tokio::time::sleep(Duration::from_millis(200)).await; // so that it has met the first one's request
    desk.dead_letters.close(&first).await.unwrap();
    assert!(soon(first_asks).await.unwrap());

    let second = soon(request()).await;
    desk.dead_letters.close(&first).await.unwrap(); // as a host does that was not told of its success
    assert_eq!(desk.dead_letters.request(&view).await.unwrap(), Some(second.clone()));
    desk.dead_letters.close(&second).await.unwrap();
    assert!(soon(second_asks).await.unwrap());
    assert_eq!(desk.dead_letters.request(&view).await.unwrap(), None);
}
