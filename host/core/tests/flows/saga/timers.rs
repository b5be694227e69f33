//! Timers: in order of due, never before, once, and not after they were cancelled.

use pelton_core::id::InstanceId;
use pelton_core::message::Headers;
use pelton_core::saga::input::{FiredTimer, OwnInput};
use pelton_core::time::Timestamp;

use super::counter::World;

async fn at(world: &World, now: u64) {
    world.sagas.advance(Timestamp(now));
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_goes_off_once_and_what_was_cancelled_or_set_again_does_not() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:set t 50/set u 60/set v 70").await;
    world.hand_in("go", "a:cancel u/cancel nothing/set v 90").await;
    world.calls();
    at(&world, 49).await;
    assert_eq!(world.calls(), [""; 0]);
    at(&world, 80).await;
    assert_eq!(world.calls(), ["a timer t due 50 at 80"]);
    at(&world, 100).await;
    assert_eq!(world.calls(), ["a timer v due 90 at 100"]);
    assert_eq!(world.sent()[2..], ["a stream:1t1:0=3", "a stream:1t4:0=4"]);
    assert!(world.instance("a").unwrap().timers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_instance_cancels_its_timers() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:set t 50").await;
    world.hand_in("end", "a:set u 60").await;
    assert!(world.sagas.timers().is_empty());
}

/// The server hands over what was due during an outage in any order.
#[tokio::test(start_paused = true)]
async fn timers_that_were_due_meanwhile_come_in_order_of_due() {
    let world = World::new();
    let host = world.host("a");
    world.hand_in("start", "a:set x 30/set y 10/set z 20,b:set t 15").await;
    host.crash().await;
    world.sagas.advance(Timestamp(100));
    world.calls();
    let _host = world.host("b");
    world.settle().await;
    let mut calls = world.calls();
    calls.retain(|call| call.starts_with('a'));
    assert_eq!(calls, ["a timer y due 10 at 100", "a timer z due 20 at 100", "a timer x due 30 at 100"]);
    assert_eq!(world.count("b"), Some(2));
}

/// A timer whose message was on its way when it was cancelled.
#[tokio::test(start_paused = true)]
async fn a_timer_that_goes_off_after_its_cancel_its_replacement_or_the_end_changes_nothing() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:set t 50,b:set t 50,c:set t 50").await;
    let fired = world.sagas.timers();
    world.hand_in("go", "a:cancel t,b:set t 500").await;
    world.hand_in("end", "c").await;
    world.calls();
    let count = world.sagas.sent().len();
    for timer in fired.clone().into_iter().chain(fired) {
        world.sagas.store_input(&OwnInput::Timer(timer), Headers::default(), Timestamp(60));
    }
    world.settle().await;
    assert_eq!(world.calls(), [""; 0]);
    assert_eq!(world.sagas.sent().len(), count);
    assert_eq!(world.sagas.timers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_the_server_hands_over_too_soon_is_armed_again() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:set t 50").await;
    let [fired]: [FiredTimer; 1] = world.sagas.timers().try_into().unwrap();
    world.calls();
    world.sagas.store_input(&OwnInput::Timer(fired), Headers::default(), Timestamp(49));
    world.settle().await;
    assert_eq!(world.calls(), [""; 0]);
    at(&world, 50).await;
    assert_eq!(world.calls(), ["a timer t due 50 at 50"]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_lets_one_timer_go_off_before_it_is_due_and_no_other() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:set t 500/set u 400/set v 10").await;
    world.calls();
    world.sagas.fire(&InstanceId::new("a").unwrap(), "t", Timestamp(20));
    world.settle().await;
    // What is due by then comes first.
    assert_eq!(world.calls(), ["a timer v due 10 at 500", "a timer t due 500 at 500"]);
    at(&world, 1_000).await;
    assert_eq!(world.calls(), ["a timer u due 400 at 1000"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_descriptor_does_not_list_or_is_too_much_is_refused_as_a_whole() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a:odd t").await;
    let many: Vec<_> = (0..101).map(|n| format!("set t{n} 50")).collect();
    world.hand_in("start", &format!("b:{}", many.join("/"))).await;
    let causes: Vec<_> = world.dead_letters().into_iter().map(|letter| letter.cause).collect();
    assert!(causes[0].contains("\"early\", which its descriptor does not list"), "{causes:?}");
    assert!(causes[1].contains("it has 101 timers set; at most 100 are allowed"), "{causes:?}");
    assert!(world.sagas.timers().is_empty() && world.sent().is_empty());
}
