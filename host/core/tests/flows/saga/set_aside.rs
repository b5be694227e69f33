//! Inputs that cannot be handled, and what waits behind them.

use std::time::Duration;

use pelton_core::dead_letter::{DeadLetterKind, OnFailure};
use pelton_core::time::Timestamp;

use super::counter::{World, accepted};

fn kept(world: &World) -> Vec<(u64, DeadLetterKind, Option<String>)> {
    let dead_letters = world.dead_letters().into_iter();
    dead_letters.map(|letter| (letter.message.sequence.0, letter.kind, letter.key)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_is_quarantined_and_the_others_go_on() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a,x:fail,b").await;
    world.hand_in("go", "x,a").await;
    assert_eq!((world.count("a"), world.count("b"), world.count("x")), (Some(2), Some(1), None));
    let x = || Some("x".to_owned());
    assert_eq!(kept(&world), [(1, DeadLetterKind::Failed, x()), (2, DeadLetterKind::Parked, x())]);
    let dead_letters = world.dead_letters();
    assert!(dead_letters[0].cause.contains("it is broken"));
    assert!(dead_letters[1].cause.contains(&dead_letters[0].id()));
}

/// Inputs of both streams wait in the order in which they came, and are tried again in it.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_failure_is_tried_again_in_order() {
    let mut world = World::new();
    let host = world.host("a");
    world.hand_in("start", "a:set t 50").await;
    host.stop().await;
    world.plugin.is_off = true;
    let host = world.host("b");
    world.hand_in("go", "a").await;
    world.tell("a", "stream:1:0", accepted());
    world.settle().await;
    world.hand_in("go", "a").await;
    world.sagas.advance(Timestamp(60));
    world.settle().await;
    assert_eq!(world.dead_letters().len(), 4);
    // It fails again, and what is behind it is not tried.
    world.calls();
    world.dead_letters.ask("counter", "a");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((world.calls(), world.dead_letters.failed_again().len()), (vec!["a go 2".to_owned()], 1));
    host.stop().await;
    world.plugin.is_off = false;
    let _host = world.host("c");
    world.dead_letters.ask("counter", "a");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.dead_letters.is_asked() && world.dead_letters().is_empty());
    assert_eq!(world.calls(), ["a go 2", "a outcome c1 accepted", "a go 3", "a timer t due 50 at 60"]);
    world.hand_in("go", "a").await;
    assert_eq!((world.count("a"), world.instance("a").unwrap().quarantined_by), (Some(6), None));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_skips_goes_on_without_the_input() {
    let world = World { on_failure: OnFailure::Skip, ..World::new() };
    let _host = world.host("a");
    for orders in ["a", "a:fail", "a"] {
        world.hand_in("start", orders).await;
    }
    assert_eq!((world.count("a"), kept(&world)), (Some(2), vec![(2, DeadLetterKind::Failed, None)]));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_concerns_nobody_knows_whom_holds_up_nobody() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "nobody").await;
    world.events.push("x", [("ce-id", "x")].into_iter().collect(), "".into(), Timestamp(9));
    world.hand_in("start", "a").await;
    assert_eq!(kept(&world), [(1, DeadLetterKind::Failed, None), (2, DeadLetterKind::Failed, None)]);
    assert_eq!(world.count("a"), Some(1));
}
