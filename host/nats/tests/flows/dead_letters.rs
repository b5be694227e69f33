//! Dead letters are kept unchanged, once, with their cause, and harmless.

use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters};
use pelton_core::id::Sequence;
use pelton_core::message::{Headers, Incoming};
use pelton_core::text::MAX_CAUSE_BYTES;
use pelton_core::time::Timestamp;
use pelton_nats::{dead_letters, subjects};

use crate::entities::hotel;
use crate::support::{TestServer, name};
use pelton_nats::{Nats, StreamDeadLetters};

fn dead_letter(sequence: u64, payload: Vec<u8>) -> DeadLetter {
    let headers = [
        ("ce-id", "c1"),
        ("Nats-Rollup", "all"),
        ("Nats-Msg-Id", "c1"),
        ("x-text", "grüße 100% \"x\"\u{7}"),
        ("Pelton-Cause", "a forged cause"),
    ];
    DeadLetter {
        consumer: "booking".into(),
        key: Some("booking.1.2022-12-12 *>".into()),
        kind: DeadLetterKind::Failed,
        message: Incoming {
            stream: name("COMMANDS"),
            sequence: Sequence(sequence),
            subject: "command.book-room.c1".into(),
            headers: headers.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            payload: payload.into(),
            stored_at: Timestamp(1_700_000_000_123_456_789),
            attempt: 5,
        },
        cause: "wasm trap: unreachable\nguest backtrace:\n  booking::decide\r\nNats-Rollup: all".into(),
        digest: Some("sha256:00".into()),
    }
}

async fn dead_letters(nats: &Nats) -> StreamDeadLetters {
    hotel().ensure(nats).await.unwrap();
    StreamDeadLetters::new(nats, false)
}

fn sorted(headers: &Headers) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    pairs.sort();
    pairs
}

fn assert_same(kept: &DeadLetter, dead_letter: &DeadLetter) {
    assert_eq!(kept.id(), dead_letter.id());
    assert_eq!(
        (&kept.consumer, &kept.key, kept.kind),
        (&dead_letter.consumer, &dead_letter.key, dead_letter.kind)
    );
    assert_eq!((&kept.cause, &kept.digest), (&dead_letter.cause, &dead_letter.digest));
    let (kept, came) = (&kept.message, &dead_letter.message);
    assert_eq!(sorted(&kept.headers), sorted(&came.headers));
    assert_eq!(
        (&kept.payload, &kept.subject, kept.stored_at, kept.attempt),
        (&came.payload, &came.subject, came.stored_at, came.attempt)
    );
}

#[tokio::test]
async fn a_letter_is_kept_once_and_comes_back_as_it_went() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let dead_letters = dead_letters(&nats).await;
    let sizes = [0, 10, 1024 * 1024 - 100, 1024 * 1024];
    for (n, size) in sizes.into_iter().enumerate() {
        let dead_letter = dead_letter(n as u64 + 1, vec![b'x'; size]);
        for _ in 0..2 {
            dead_letters.keep(dead_letter.clone()).await.unwrap();
        }
    }
    let mut stream = nats.jetstream().get_stream("DEAD_LETTERS").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    let mut found = Vec::new();
    for sequence in 1..=last {
        found.extend(dead_letters::read(&nats, Sequence(sequence)).await.unwrap());
    }
    assert_eq!(found.len(), sizes.len());
    for (n, (kept, size)) in found.iter().zip(sizes).enumerate() {
        assert_same(&kept.dead_letter, &dead_letter(n as u64 + 1, vec![b'x'; size]));
        assert!(kept.kept_at > kept.dead_letter.message.stored_at);
    }
}

#[tokio::test]
async fn a_letter_that_was_taken_out_can_come_back_at_once() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let dead_letters = dead_letters(&nats).await;
    let dead_letter = dead_letter(1, b"x".to_vec());
    dead_letters.keep(dead_letter.clone()).await.unwrap();
    let stream = nats.jetstream().get_stream("DEAD_LETTERS").await.unwrap();
    assert!(stream.delete_message(1).await.unwrap());
    dead_letters.keep(dead_letter.clone()).await.unwrap();
    assert_same(&dead_letters::read(&nats, Sequence(2)).await.unwrap().unwrap().dead_letter, &dead_letter);
}

#[tokio::test]
async fn a_long_cause_is_cut() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let dead_letters = dead_letters(&nats).await;
    let long = DeadLetter { cause: "é".repeat(MAX_CAUSE_BYTES), ..dead_letter(1, Vec::new()) };
    dead_letters.keep(long).await.unwrap();
    let kept = dead_letters::read(&nats, Sequence(1)).await.unwrap().unwrap();
    assert_eq!(kept.dead_letter.cause, "é".repeat(MAX_CAUSE_BYTES / 2));
}

#[test]
fn a_letter_lies_where_its_message_says_whatever_its_key_is() {
    let subject = subjects::dead_letter(&dead_letter(7, Vec::new()));
    let tokens: Vec<&str> = subject.split('.').collect();
    assert_eq!((tokens.len(), &tokens[..2]), (7, &["dead-letter", "booking"][..]));
    assert_eq!(tokens[3..], ["failed", "COMMANDS", "7", "c1"]);
    assert!(tokens[2].bytes().all(|b| b.is_ascii_hexdigit()), "{subject}");
    for (stream, subject) in
        [("COMMANDS", "command.short"), ("COMMANDS", "command.a.b.c"), ("hotel", "command.a.b")]
    {
        let mut nameless = dead_letter(7, Vec::new());
        (nameless.message.stream, nameless.message.subject) = (name(stream), subject.to_owned());
        assert!(subjects::dead_letter(&nameless).ends_with(".7.-"), "{subject}");
    }
}
