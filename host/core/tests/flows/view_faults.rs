//! Views with a misbehaving store or a second host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pelton_core::consumer::{EventFeed, FeedItem};
use pelton_core::id::Sequence;
use pelton_core::memory::{FlakyNetwork, MemoryFeed};
use pelton_core::projection::{MAX_AHEAD_BYTES, MAX_READ_BYTES};
use pelton_core::store::Unavailable;

use crate::event;
use crate::projection::{Run, Trouble, item, rows, stops_when_told};

/// R4: host B was paused and held a checkpoint from before host A parked a key. It took the key for not parked, removed
/// the dead letter, and A let the key go on without the event.
#[tokio::test(start_paused = true)]
async fn a_host_with_an_old_checkpoint_takes_out_no_letter_of_a_newer_one() {
    // The number of times that B reads the old checkpoint: only before it was paused, or also in the moment between A's
    // keeping of the dead letter and A's commit.
    for old_answers in [1, 2] {
        let run = Run::new(FlakyNetwork::reliable(), 10);
        run.feed(&["a:1", "b:1"]).await;
        let old = run.views.present_checkpoint();
        let events = ["a:1", "b:1", "a:bad", "a:2", "b:2"];
        run.feed(&events).await;
        assert_eq!(run.dead_letters().len(), 2);

        run.flow.plugin.2.store(true, Ordering::Relaxed);
        run.dead_letters.ask("view", "a");
        run.flow.store.old_checkpoints.lock().unwrap().extend(vec![old; old_answers]);
        run.feed(&[]).await;
        assert_eq!(
            run.dead_letters().len(),
            if old_answers == 1 { 0 } else { 2 },
            "{old_answers} old answers"
        );

        run.retry(1).await;
        assert_eq!(run.rows(), rows(&[("a", "1bad2"), ("b", "12")]), "{old_answers} old answers");
        assert_eq!((run.dead_letters(), run.views.present_checkpoint().parked.len()), (vec![], 0));
    }
}

/// Endless events, or the items of another feed. Counts the requests.
struct Counted<F> {
    feed: F,
    seeks: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl<F: EventFeed> EventFeed for Counted<F> {
    async fn seek(&mut self, after: Sequence) -> Result<(), Unavailable> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.feed.seek(after).await
    }

    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<FeedItem>, Unavailable> {
        let items = self.feed.next(max, max_bytes).await?;
        self.bytes.fetch_add(items.iter().map(FeedItem::bytes).sum(), Ordering::Relaxed);
        Ok(items)
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        self.feed.stopped()
    }
}

fn counted(texts: &[&str]) -> Counted<MemoryFeed> {
    let items: Vec<_> = (1..).zip(texts).map(|(n, text)| item(n, &event("append", text))).collect();
    Counted { feed: MemoryFeed::new(items), seeks: Arc::default(), bytes: Arc::default() }
}

/// R7: the flow read the checkpoint again and recreated its consumer at once, thousands of times a minute.
#[tokio::test(start_paused = true)]
async fn a_commit_that_stays_unclear_is_sent_again_later_and_later_and_nothing_is_read_again() {
    let run = Run::new(FlakyNetwork::reliable(), 10);
    let feed = counted(&["a:1", "b:1", "a:2"]);
    let (seeks, commits) = (feed.seeks.clone(), || run.flow.store.commits.load(Ordering::Relaxed));
    let set = |trouble| *run.flow.store.trouble.lock().unwrap() = trouble;
    set(Trouble::Unclear);
    let room_again = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(seeks.load(Ordering::Relaxed), 1);
        let most = 3600 / run.flow.retry.max_delay.as_secs() + 20;
        assert!((10..usize::try_from(most).unwrap()).contains(&commits()), "{} commits", commits());
        set(Trouble::None);
    };
    tokio::join!(run.flow.run(feed), room_again);
    assert_eq!((run.rows(), seeks.load(Ordering::Relaxed)), (rows(&[("a", "12"), ("b", "1")]), 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_stays_unclear_does_not_keep_the_host_from_stopping() {
    let run = Run::new(FlakyNetwork::reliable(), 10);
    *run.flow.store.trouble.lock().unwrap() = Trouble::Unclear;
    let feed = counted(&["a:1"]);
    let stop = feed.feed.stopper();
    stops_when_told(run.flow.run(feed), &stop).await;
}

/// R22: eight batches of 500 events were read ahead whatever their size, 2 GiB of them.
#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_has_a_bound_in_bytes() {
    const EVENT_BYTES: usize = 256 * 1024;
    let run = Run::new(FlakyNetwork::reliable(), 10_000);
    *run.flow.store.trouble.lock().unwrap() = Trouble::Silence;
    let text = "x".repeat(EVENT_BYTES);
    let texts: Vec<String> = (0..8 * MAX_AHEAD_BYTES / EVENT_BYTES).map(|n| format!("k{n}:{text}")).collect();
    let feed = counted(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let bytes = feed.bytes.clone();
    let waits = tokio::time::timeout(Duration::from_secs(60), run.flow.run(feed)).await;
    assert!(waits.is_err(), "nothing was stored");
    let bytes = bytes.load(Ordering::Relaxed);
    // Three parts: the waiting events, the events in the flow's hands, and the events folded before, whose values are
    // pending.
    let most = 3 * (MAX_AHEAD_BYTES + MAX_READ_BYTES);
    assert!((MAX_AHEAD_BYTES / 2..=most).contains(&bytes), "{bytes} bytes");
}
