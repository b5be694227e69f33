//! Where a saga begins, and which host runs it.

use std::time::Duration;

use pelton_core::id::Sequence;
use pelton_core::memory::FlakyNetwork;
use pelton_core::saga::lead::Start;
use pelton_core::time::Timestamp;

use super::counter::World;

// R3: a new or renamed saga replayed all history with its effects.
#[tokio::test(start_paused = true)]
async fn a_saga_begins_where_it_is_told_when_it_is_first_made_and_never_again() {
    for (start, first) in [
        (Start::Beginning, 1),
        (Start::Now, 4),
        (Start::Sequence(Sequence(3)), 3),
        (Start::Time(Timestamp(2)), 2),
        (Start::Time(Timestamp(1_000)), 4),
    ] {
        let mut world = World { start, ..World::new() };
        for _ in 0..3 {
            world.publish("start", "a");
        }
        let host = world.host("a");
        world.settle().await;
        world.hand_in("start", "a").await;
        let expected: Vec<_> = (first..=4).map(|n| format!("a start {n}")).collect();
        assert_eq!(world.calls(), expected, "{start:?}");
        host.stop().await;
        // Whatever the configuration says by then.
        world.start = Start::Beginning;
        let _host = world.host("b");
        world.hand_in("start", "a").await;
        assert_eq!(world.calls(), ["a start 5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_host_takes_over_within_three_seconds_and_repeats_nothing() {
    let world = World::new();
    let first = world.host("a");
    world.hand_in("start", "a,b").await;
    let second = world.host("b");
    world.hand_in("go", "a").await;
    assert_eq!(world.sagas.position_now().unwrap().host, "a");
    first.crash().await;
    let crashed = tokio::time::Instant::now();
    world.publish("go", "a,b");
    while world.count("b") != Some(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(crashed.elapsed() < Duration::from_secs(3), "{:?}", crashed.elapsed());
    assert_eq!(world.sagas.position_now().unwrap().host, "b");
    world.settle().await;
    assert_eq!(world.sent().len(), 5);
    // One that stops in good order need not be waited for.
    let third = world.host("c");
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.stop().await;
    let stopped = tokio::time::Instant::now();
    world.publish("go", "a");
    while world.count("a") != Some(4) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    third.stop().await;
}

// A host that was stopped while it took the saga over left it as its own: nobody ran it for two seconds.
#[tokio::test(start_paused = true)]
async fn a_host_that_is_stopped_at_any_moment_leaves_the_saga_to_another() {
    for stopped_after in (0..400).step_by(5) {
        let world = World::with(FlakyNetwork::flaky(stopped_after, 100, 0));
        let host = world.host("a");
        tokio::time::sleep(Duration::from_millis(stopped_after)).await;
        host.stop().await;
        let position = world.sagas.position_now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.sagas.position_now(), position, "a write came later, {stopped_after} ms");
        assert!(position.is_none_or(|position| position.released), "{stopped_after} ms");
    }
}

/// What a host had in hand when it crashed comes again, and finds that it was handled; an instance that has ended stays so.
#[tokio::test(start_paused = true)]
async fn what_comes_again_after_a_crash_changes_nothing() {
    let world = World::new();
    let host = world.host("a");
    world.hand_in("start", "a").await;
    // The position is stored twice a second, and this is faster.
    world.publish("end", "a");
    world.publish("start", "b");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.sagas.position_now().unwrap().of("stream"), Sequence(1));
    host.crash().await;
    assert_eq!((world.count("a"), world.count("b")), (None, Some(1)));
    world.calls();
    let _host = world.host("b");
    world.settle().await;
    assert_eq!((world.calls(), world.count("a"), world.count("b")), (Vec::<String>::new(), None, Some(1)));
    // Its commands may not have been sent, so they are sent again under the same ids.
    assert_eq!(
        world.sent(),
        ["a stream:1:0=1", "a stream:2:0=2", "b stream:3:0=1", "a stream:2:0=2", "b stream:3:0=1"]
    );
    world.hand_in("go", "b").await;
    assert_eq!(world.sent().len(), 6);
}
