use std::time::{Duration, Instant};

use pelton_core::consumer::{EventFeed, FeedItem};
use pelton_core::id::Sequence;
use pelton_core::message::RecordedEvent;
use pelton_core::recorded;
use pelton_nats::StreamFeed;
use tokio_util::sync::CancellationToken;

use crate::poison::publish_raw;
use crate::support::{TestServer, event, name, numbers, prepare, publish_events, soon};

async fn collect(feed: &mut StreamFeed, count: usize) -> Vec<FeedItem> {
    let mut items = Vec::new();
    while items.len() < count {
        // A feed that finds no server returns an error. It continues at its position when it is called again.
        match soon(feed.next(count - items.len(), usize::MAX)).await {
            Ok(more) => items.extend(more),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    items
}

fn read(item: &FeedItem) -> Result<RecordedEvent, String> {
    recorded::of_item(&"hotel".into(), item)
}

#[tokio::test]
async fn events_come_in_order_and_what_is_none_in_its_place() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=2).await;
    nats.jetstream().publish("booking.1.noise", "noise".into()).await.unwrap().await.unwrap();
    publish_events(&nats, 4..=4).await;

    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    let items = collect(&mut feed, 4).await;
    assert_eq!(numbers(&items), [1, 2, 3, 4]);
    let first = read(&items[0]).unwrap();
    assert_eq!((&first.event, first.sequence, &*first.stream), (&event(1), Sequence(1), "hotel"));
    assert_eq!(first.recorded_at, items[0].message.stored_at);
    assert!(read(&items[2]).unwrap_err().contains("is not a CloudEvent"));

    feed.seek(Sequence(2)).await.unwrap();
    assert_eq!(numbers(&collect(&mut feed, 2).await), [3, 4]);
    feed.seek(Sequence(0)).await.unwrap();
    assert_eq!(numbers(&collect(&mut feed, 4).await), [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_has_arrived_comes_at_once_and_never_more_than_asked_for() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=1000).await;
    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    assert_eq!(soon(feed.next(1, usize::MAX)).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The runtime lets a task poll 128 times; a batch may be larger.
    assert!(soon(feed.next(500, usize::MAX)).await.unwrap().len() > 128);
    collect(&mut feed, 1).await;
    let mut last = 0;
    while last < 1000 {
        last = *numbers(&soon(feed.next(7, usize::MAX)).await.unwrap()).last().unwrap();
    }

    let begin = Instant::now();
    publish_events(&nats, 1001..=1001).await;
    assert_eq!(numbers(&soon(feed.next(1000, usize::MAX)).await.unwrap()), [1001]);
    assert!(begin.elapsed() < Duration::from_secs(1), "it waited for more");
}

#[tokio::test]
async fn a_feed_that_is_stopped_ends_at_once_whether_it_waits_or_not() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    let stop = CancellationToken::new();
    let mut feed = StreamFeed::new(&nats, name("hotel"), stop.clone());
    let waiting = tokio::spawn(async move {
        let items = feed.next(10, usize::MAX).await.unwrap();
        (feed, items.len())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    let (mut feed, count) = soon(waiting).await.unwrap();
    assert_eq!(count, 0);
    assert_eq!(soon(feed.next(10, usize::MAX)).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_crash_of_the_server_in_mid_run_loses_and_repeats_nothing() {
    let mut server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=2000).await;
    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    let mut seen = numbers(&collect(&mut feed, 700).await);

    server.crash().await;
    server.restart().await;
    soon(async {
        while nats.jetstream().get_stream("hotel").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    publish_events(&nats, 2001..=2500).await;
    seen.extend(numbers(&collect(&mut feed, 1800).await));
    assert_eq!(seen, (1..=2500).collect::<Vec<_>>());

    // An idle feed, too.
    server.crash().await;
    let waiting = tokio::spawn(async move { numbers(&collect(&mut feed, 1).await) });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart().await;
    soon(async {
        while nats.jetstream().get_stream("hotel").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    publish_events(&nats, 2501..=2501).await;
    assert_eq!(soon(waiting).await.unwrap(), [2501]);
}

#[tokio::test]
async fn a_consumer_that_vanishes_is_made_anew() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=10).await;
    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    assert_eq!(numbers(&collect(&mut feed, 10).await), (1..=10).collect::<Vec<_>>());

    let stream = nats.jetstream().get_stream("hotel").await.unwrap();
    let consumers: Vec<String> = futures::TryStreamExt::try_collect(stream.consumer_names()).await.unwrap();
    assert_eq!(consumers.len(), 1);
    let waiting = tokio::spawn(async move { numbers(&collect(&mut feed, 5).await) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.delete_consumer(&consumers[0]).await.unwrap();
    publish_events(&nats, 11..=15).await;
    assert_eq!(soon(waiting).await.unwrap(), [11, 12, 13, 14, 15]);
}

#[tokio::test]
async fn a_stream_that_ends_before_the_position_is_an_error_and_no_silence() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=3).await;
    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    feed.seek(Sequence(4)).await.unwrap();
    let error = soon(feed.next(1, usize::MAX)).await.unwrap_err().to_string();
    assert!(error.contains("the stream ends at 3"), "{error}");

    let mut feed = StreamFeed::new(&nats, name("nowhere"), CancellationToken::new());
    let error = soon(feed.next(1, usize::MAX)).await.unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn in_a_cluster_the_feed_goes_on_when_the_server_that_it_is_connected_to_crashes() {
    let mut servers = TestServer::start_cluster().await;
    let nats = servers[0].connect().await;
    let publisher = servers[1].connect().await;
    prepare(&nats, 3).await;
    publish_events(&publisher, 1..=500).await;
    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    let mut seen = numbers(&collect(&mut feed, 200).await);
    servers[0].crash().await;
    soon(async {
        while publisher.jetstream().get_stream("hotel").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // A leader that was just elected may refuse, and a publish that it does not answer is stored or not.
    let stored = soon(async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Ok(ack) = publisher.jetstream().publish("booking.1.probe", "".into()).await
                && let Ok(ack) = ack.await
            {
                break ack.sequence;
            }
        }
    })
    .await;
    seen.extend(numbers(&collect(&mut feed, usize::try_from(stored).unwrap() - seen.len()).await));
    assert_eq!(seen, (1..=stored).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_that_the_client_library_cannot_read_come_in_their_place() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    prepare(&nats, 1).await;
    publish_events(&nats, 1..=3).await;
    let poison: [(&str, &[u8]); 5] = [
        // R6: over this one the client library's task panics.
        ("booking.1.e", b"NATS/1.0\r\nce-id: a\rb\r\n\r\n"),
        ("booking.1.a", b"NATS/1.0\r\nce-id: \xff\xfe\r\nce-specversion: 1.0\r\n\r\n"),
        ("booking.1.b", b"NATS/1.0\r\nno header\r\n\r\n"),
        // Only looks like a message of the server itself.
        ("booking.1.c", b"NATS/1.0 409 Consumer Deleted\r\n\r\n"),
        ("booking.1.d", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"),
    ];
    publish_raw(&server.url(), &poison).await;
    publish_events(&nats, 9..=10).await;

    let mut feed = StreamFeed::new(&nats, name("hotel"), CancellationToken::new());
    let items = collect(&mut feed, 10).await;
    assert_eq!(numbers(&items), (1..=10).collect::<Vec<_>>());
    let events: Vec<bool> = items.iter().map(|item| read(item).is_ok()).collect();
    assert_eq!(events, [true, true, true, false, false, false, false, false, true, true]);
    assert!(read(&items[3]).unwrap_err().contains("bare carriage return"));
    assert!(read(&items[4]).unwrap_err().contains("not UTF-8"));
    assert_eq!(items[4].message.subject, "booking.1.a");
    assert_eq!(items[4].message.payload, "hi");
    assert!(!nats.is_closed().await, "the host's own connection broke");
}
