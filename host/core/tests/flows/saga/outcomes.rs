//! How the commands of an instance ended.

use pelton_core::outcomes::CommandResult;

use super::counter::{World, accepted, rejected};

#[tokio::test(start_paused = true)]
async fn an_instance_gets_each_outcome_once_with_its_reference() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    world.hand_in("go", "a").await;
    assert_eq!(world.instance("a").unwrap().open.len(), 2);
    world.calls();
    world.tell("a", "stream:2:0", rejected());
    world.tell("a", "stream:1:0", accepted());
    world.settle().await;
    assert_eq!(world.calls(), ["a outcome c2 rejected", "a outcome c1 accepted"]);
    assert!(world.instance("a").unwrap().open.is_empty());
    // A host that crashed before its acknowledgement tells it again, when the first report is deleted.
    world.tell("a", "stream:1:0", CommandResult::SetAside("late".to_owned()));
    world.settle().await;
    assert_eq!(world.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_is_told_before_the_final_outcome() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    world.calls();
    world.tell("a", "stream:1:0", CommandResult::SetAside("broken".to_owned()));
    world.settle().await;
    assert!(world.instance("a").unwrap().open["stream:1:0"].set_aside);
    world.tell("a", "stream:1:0", CommandResult::Failed("dropped".to_owned()));
    world.settle().await;
    assert_eq!(world.calls(), ["a outcome c1 set-aside", "a outcome c1 failed"]);
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_an_instance_that_has_ended_changes_nothing() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    world.hand_in("end", "a").await;
    world.hand_in("start", "a").await; // another life
    world.calls();
    for place in ["stream:1:0", "stream:2:0"] {
        world.tell("a", place, rejected());
    }
    world.tell("b", "stream:1:0", rejected());
    world.settle().await;
    assert_eq!((world.calls(), world.count("a")), (Vec::<String>::new(), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_nobody_takes_has_failed() {
    let world = World::new();
    world.sagas.nobody_takes("count");
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    world.settle().await;
    assert_eq!(world.calls(), ["a start 1", "a outcome c1 failed"]);
}

#[tokio::test(start_paused = true)]
async fn inputs_that_were_handled_are_deleted() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    world.tell("a", "stream:1:0", accepted());
    world.settle().await;
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert!(world.sagas.own_log().messages().is_empty());
}
