use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pelton_core::client::{ViewPage, ViewReader};
use pelton_core::id::Sequence;
use pelton_core::projection::ports::ViewStore;
use pelton_core::projection::view::{Checkpoint, ViewKey};
use pelton_nats::Bucket;
use pelton_nats::BucketReader;
use pelton_nats::Nats;
use pelton_nats::views::{BucketViews, MAX_PAGE_BYTES, MAX_ROWS};

use crate::support::{TestServer, name, prepare, soon};

/// Stores a row for every key, with the key as its value, and deletes others.
async fn fill(nats: &Nats, bucket: &Bucket, keys: &[String], deleted: &[String]) -> Checkpoint {
    let views = BucketViews::new(nats, bucket.clone());
    let mut checkpoint = views.checkpoint().await.unwrap();
    let kept = keys.iter().map(|key| (key, Some(Bytes::from(key.clone()))));
    let rows: Vec<_> = kept
        .chain(deleted.iter().map(|key| (key, None)))
        .map(|(key, value)| (ViewKey::new(key).unwrap(), value))
        .collect();
    for rows in rows.chunks(MAX_ROWS) {
        checkpoint.position.0 += 1;
        checkpoint.revision = soon(views.commit(rows, &checkpoint)).await.unwrap();
    }
    checkpoint
}

fn keys(page: &ViewPage) -> Vec<&str> {
    page.rows.iter().map(|row| row.key.as_str()).collect()
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn rows_are_read_with_the_position_that_they_have_at_least() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let bucket = prepare(&nats, 1).await;
    let reader = BucketReader::new(&nats, HashMap::from([(name("bookings"), bucket.clone())]));
    let view = name("bookings");

    assert_eq!(reader.get(&view, "a").await.unwrap(), (None, Sequence(0)));
    let empty = reader.list(&view, "", None, 10).await.unwrap();
    assert!(empty.rows.is_empty() && empty.next.is_none() && empty.position == Sequence(0));

    let all = ["1.2022-12-12", "1.2022-12-13", "1.", "10.1", "2.1", "checkpoint", "a b", "größe"];
    fill(&nats, &bucket, &owned(&all), &[]).await;
    fill(&nats, &bucket, &[], &owned(&["2.1", "never"])).await;
    for key in all.iter().filter(|key| **key != "2.1") {
        assert_eq!(reader.get(&view, key).await.unwrap(), (Some(Bytes::from(*key)), Sequence(2)));
    }
    for gone in ["2.1", "never", "", "1", &"x".repeat(257)] {
        assert_eq!(reader.get(&view, gone).await.unwrap(), (None, Sequence(2)), "{gone:?}");
    }

    let list = async |prefix: &str, after: Option<&str>, limit: usize| {
        let page = reader.list(&view, prefix, after, limit).await.unwrap();
        assert_eq!(page.position, Sequence(2));
        assert!(page.rows.iter().all(|row| row.value == row.key));
        (keys(&page).join("|"), page.next)
    };
    let in_order = "1.2022-12-12|1.2022-12-13|10.1|1.|a b|checkpoint|größe";
    assert_eq!(list("", None, 100).await, (in_order.to_owned(), None));
    assert_eq!(list("", None, 7).await, (in_order.to_owned(), None));
    assert_eq!(list("", None, 6).await.1.as_deref(), Some("checkpoint"));
    assert_eq!(list("", Some("checkpoint"), 6).await, ("größe".to_owned(), None));
    assert_eq!(list("1.", None, 100).await.0, "1.2022-12-12|1.2022-12-13|1.");
    assert_eq!(list("1.2", Some("1.2022-12-12"), 100).await.0, "1.2022-12-13");
    assert_eq!(list("1", None, 100).await.0, "1.2022-12-12|1.2022-12-13|10.1|1.");
    assert_eq!(list("gr", None, 100).await.0, "größe");
    assert_eq!(list("2", None, 100).await, (String::new(), None));
    assert_eq!(list("", None, 0).await, (String::new(), None));

    let error = reader.get(&name("other"), "a").await.unwrap_err().to_string();
    assert!(error.contains("no view of that name"), "{error}");
    reader.serve(name("other"), bucket);
    assert_eq!(reader.get(&name("other"), "a b").await.unwrap().0, Some(Bytes::from("a b")));
}

#[tokio::test]
async fn thousands_of_rows_are_paged_without_a_gap_or_a_repetition() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let bucket = prepare(&nats, 1).await;
    let reader = BucketReader::new(&nats, HashMap::from([(name("bookings"), bucket.clone())]));
    let view = name("bookings");
    let mut all: Vec<String> = (0..5000).map(|n| format!("{}.day {:05}", n % 7, n)).collect();
    let deleted: Vec<String> = (0..3000).map(|n| format!("0.{n}")).collect();
    fill(&nats, &bucket, &all, &[]).await;
    fill(&nats, &bucket, &deleted, &[]).await;
    fill(&nats, &bucket, &[], &deleted).await;
    all.sort();

    for (prefix, limit) in [("", 1000), ("", 700), ("3.day ", 100), ("0.", 5000)] {
        let begin = Instant::now();
        let mut read = Vec::new();
        let mut after: Option<String> = None;
        let mut pages = 0;
        loop {
            let page = soon(reader.list(&view, prefix, after.as_deref(), limit)).await.unwrap();
            assert!(page.rows.len() <= limit);
            read.extend(keys(&page).into_iter().map(str::to_owned));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(read, expected);
        assert_eq!(pages, expected.len().div_ceil(limit));
        eprintln!("{prefix:?}: {} rows, {pages} pages, {:?}", read.len(), begin.elapsed());
    }
}

/// R20: a page buffered up to 1,000 values of 512 KiB.
#[tokio::test]
async fn a_page_has_a_bound_in_bytes_and_the_next_goes_on_behind_it() {
    const VALUE_BYTES: usize = 400 * 1024;
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let bucket = prepare(&nats, 1).await;
    let views = BucketViews::new(&nats, bucket.clone());
    let mut checkpoint = views.checkpoint().await.unwrap();
    let all: Vec<String> = (10..40).map(|n| format!("k{n}")).collect();
    for key in &all {
        let row = (ViewKey::new(key).unwrap(), Some(Bytes::from(vec![b'x'; VALUE_BYTES])));
        checkpoint.revision = soon(views.commit(&[row], &checkpoint)).await.unwrap();
    }
    let reader = BucketReader::new(&nats, HashMap::from([(name("bookings"), bucket)]));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = soon(reader.list(&name("bookings"), "", after.as_deref(), 1000)).await.unwrap();
        let bytes: usize = page.rows.iter().map(|row| row.value.len()).sum();
        assert!(bytes < MAX_PAGE_BYTES * 2 && !page.rows.is_empty(), "{bytes} bytes");
        seen.extend(page.rows.into_iter().map(|row| row.key));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
}

/// R20: the tombstones of deleted rows stayed for ever, and every list read them.
#[tokio::test]
async fn the_mark_of_a_deleted_row_goes_after_a_while() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let bucket = prepare(&nats, 1).await;
    fill(&nats, &bucket, &owned(&["a", "b"]), &[]).await;
    let views = BucketViews::new(&nats, bucket.clone()).with_tombstone_ttl(Duration::from_secs(1));
    let checkpoint = views.checkpoint().await.unwrap();
    let gone = (ViewKey::new("a").unwrap(), None);
    soon(views.commit(&[gone], &checkpoint)).await.unwrap();
    let messages =
        async || nats.jetstream().get_stream(bucket.stream()).await.unwrap().cached_info().state.messages;
    // The row, the tombstone, the checkpoint.
    assert_eq!(messages().await, 3);
    soon(async {
        while messages().await > 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let read = views.read(&[ViewKey::new("a").unwrap(), ViewKey::new("b").unwrap()]).await.unwrap();
    assert_eq!(read, [None, Some("b".into())]);
}
