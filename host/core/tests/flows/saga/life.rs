//! The life of an instance: it starts, handles each input once, and ends.

use std::sync::Arc;
use std::time::Duration;

use pelton_core::cloudevents::DEPTH;
use pelton_core::id::{CommandId, InstanceId};
use pelton_core::saga::drain::SagaVersions;
use pelton_core::time::Timestamp;
use pelton_core::trial::{OnTrial, Trial, Version};
use tracing::Level;

use super::counter::{Counter, UNREADABLE_FORM, World};
use crate::event;
use crate::log::{self, Log};

#[tokio::test(start_paused = true)]
async fn an_instance_folds_its_inputs_once_and_its_commands_keep_their_ids() {
    let world = World::new();
    let host = world.host("a");
    for (r#type, data) in
        [("go", "a"), ("start", "a,b"), ("unknown", "a"), ("go", "a"), ("end", "a"), ("go", "a")]
    {
        world.hand_in(r#type, data).await;
    }
    let ids = ["a stream:2:0=1", "a stream:4:0=2", "a stream:5:0=3", "b stream:2:0=1"];
    let mut sent = world.sent();
    sent.sort();
    assert_eq!(sent, ids);
    assert_eq!((world.count("a"), world.count("b")), (None, Some(1)));
    assert!(world.instance("a").unwrap().has_ended());
    // Nobody has stored what concerns nobody.
    assert_eq!(world.sagas.instances().len(), 2);
    host.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_starts_once_does_not_start_again_after_its_end() {
    let world = World::new();
    let _host = world.host("a");
    for r#type in ["once", "once", "end", "once"] {
        world.hand_in(r#type, "a").await;
    }
    assert_eq!(world.sent(), ["a stream:1:0=1", "a stream:2:0=2", "a stream:3:0=3"]);
    world.hand_in("start", "a").await; // it starts anew
    assert_eq!(world.sent()[3..], ["a stream:5:0=1"]);
    // What was set aside before the instance started has not ended it.
    world.hand_in("once", "b:fail").await;
    assert!(!world.instance("b").unwrap().has_ended());
}

/// An id that is used again after its instance was forgotten must not give commands ids that were used before.
#[tokio::test(start_paused = true)]
async fn the_ids_of_commands_differ_in_every_life() {
    let world = World::new();
    let _host = world.host("a");
    for _ in 0..2 {
        world.hand_in("start", "a:set t 5").await;
        world.sagas.advance(Timestamp(9));
        world.settle().await;
        world.hand_in("end", "a").await;
        world.sagas.expire(&InstanceId::new("a").unwrap());
    }
    let mut ids: Vec<_> = world.sagas.sent().into_iter().map(|command| command.id).collect();
    assert_eq!(ids.len(), 6);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_version_is_migrated_once_with_its_timers() {
    let mut world = World::new();
    let host = world.host("a");
    world.hand_in("start", "a:set t 50/set u 60,b").await;
    host.swap(world.plugin.of_version(2)).await;
    world.hand_in("go", "a").await;
    world.hand_in("go", "a").await;
    assert_eq!((world.count("a"), world.count("b")), (Some(12), Some(1)));
    let versions = |id: &str| world.instance(id).unwrap().state_version;
    assert_eq!((versions("a"), versions("b")), (2, 1));
    // It kept one of the timers.
    let left: Vec<_> = world.sagas.timers().into_iter().map(|timer| timer.id).collect();
    assert_eq!(left, ["u"]);
    assert!(world.instance("a").unwrap().timers.keys().eq(["u"]));
    host.stop().await;
    // One that cannot be migrated sets its input aside, and stays as it is.
    world.plugin = world.plugin.of_version(UNREADABLE_FORM);
    let host = world.host("b");
    world.hand_in("start", "c").await;
    host.swap(world.plugin.of_version(2)).await;
    world.hand_in("go", "c").await;
    assert!(world.dead_letters()[0].cause.contains("a state of version 9 for version 2: too old"));
    assert_eq!((world.instance("c").unwrap().state_version, world.count("c")), (UNREADABLE_FORM, Some(1)));
}

/// A version that cannot read a state never gets it, whatever it would make of it.
#[tokio::test(start_paused = true)]
async fn a_state_of_a_version_that_nobody_has_is_not_passed_on() {
    let world = World::new();
    let host = world.host("a");
    world.hand_in("start", "a,b").await;
    host.swap(world.plugin.without_migration(2, &["go"])).await;
    world.hand_in("go", "a").await;
    let [dead_letter] = &world.dead_letters()[..] else { panic!() };
    assert!(dead_letter.cause.contains("of version 1 of the state, and the plugin has version 2"));
    assert_eq!((world.count("a"), world.calls().len()), (Some(1), 2));
    host.stop().await;
}

#[tokio::test(start_paused = true)]
async fn instances_of_another_form_end_with_the_version_that_has_it() {
    let world = World::new();
    let old = world.plugin.without_migration(1, &["start", "go", "end"]);
    let new = world.plugin.without_migration(2, &["start", "once"]);
    let versions = SagaVersions { draining: vec![old.clone()], ..new.clone().into() };
    let host = world.host("a");
    world.hand_in("start", "a:set t 50,b,c").await;
    host.swap(versions.clone()).await;
    // The first reads events that the new version does not read, and the new version has instances of its own.
    world.hand_in("go", "a").await;
    world.hand_in("start", "d").await;
    world.hand_in("go", "d").await;
    let forms = |world: &World, ids: &[&str]| -> Vec<_> {
        ids.iter().map(|id| (world.count(id), world.instance(id).unwrap().state_version)).collect()
    };
    assert_eq!(forms(&world, &["a", "d"]), [(Some(2), 1), (Some(1), 2)]);
    // So does a host that takes over, for timers and outcomes, too. What the old version does not read, it does not get.
    host.stop().await;
    let host = world.host("b");
    host.swap(versions).await;
    world.hand_in("once", "b,c").await;
    world.sagas.fire(&InstanceId::new("a").unwrap(), "t", Timestamp(60));
    world.settle().await;
    assert_eq!(forms(&world, &["a", "b", "c"]), [(Some(3), 1), (Some(1), 1), (Some(1), 1)]);
    // An instance that begins again begins with the new version.
    world.hand_in("end", "a").await;
    world.hand_in("start", "a").await;
    assert_eq!(forms(&world, &["a"]), [(Some(1), 2)]);
    let called = |plugin: &Counter| plugin.calls.lock().unwrap().join(", ");
    assert_eq!(called(&old), "a go 2, a timer t due 50 at 60, a end 6");
    assert_eq!(called(&new), "d start 3, a start 7");
    assert!(world.dead_letters().is_empty());
    host.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_a_version_on_trial_breaks_the_one_before_reacts_at_once() {
    for does_better in [true, false] {
        let world = World::new();
        let host = world.host("a");
        world.hand_in("start", "a").await;
        let broken = |is_off| Counter { is_off, ..world.plugin.clone() };
        let trial = Arc::new(Trial::default());
        let on_trial = OnTrial { trial: trial.clone(), before: broken(!does_better) };
        host.swap(Version { plugin: broken(true), on_trial: Some(on_trial) }).await;
        world.hand_in("go", "a").await;
        world.hand_in("start", "b").await;
        let is_lost = tokio::time::timeout(Duration::from_secs(60), trial.lost()).await;
        assert_eq!(is_lost.is_ok(), does_better, "what both break is the input's fault");
        let counts = (world.count("a"), world.count("b"), world.dead_letters().len());
        assert_eq!(counts, if does_better { (Some(2), Some(1), 0) } else { (Some(1), None, 2) });
        host.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_may_be_lost_is_sent_again_before_the_input_is_done() {
    let world = World::new();
    world.sagas.lose_answers(2);
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    assert_eq!(world.sent(), ["a stream:1:0=1"; 3]);
    assert_eq!(world.calls(), ["a start 1"]);
}

// R1: a saga took another sender's command under its id for its own, and its own command was never sent.
#[tokio::test(start_paused = true)]
async fn a_foreign_command_under_an_id_of_the_saga_quarantines_the_instance() {
    let world = World::new();
    world.sagas.occupy(CommandId::new("saga:counter:a:stream:1:0").unwrap());
    let _host = world.host("a");
    world.hand_in("start", "a,b").await;
    assert_eq!(world.sent(), ["b stream:1:0=1"]);
    let [dead_letter] = &world.dead_letters()[..] else { panic!() };
    assert_eq!(dead_letter.key.as_deref(), Some("a"));
    assert!(dead_letter.cause.contains("another command has the id saga:counter:a:stream:1:0"));
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_commands_itself_for_ever_is_stopped() {
    let world = World { max_depth: 3, ..World::new() };
    let _host = world.host("a");
    for depth in 0..4_u32 {
        let mut event = event("start", &format!("d{depth}"));
        event.extensions = vec![(DEPTH.to_owned(), depth.to_string())];
        world.publish_event(&event);
    }
    world.settle().await;
    let depths: Vec<_> = world
        .sagas
        .sent()
        .into_iter()
        .map(|sent| sent.headers.get("ce-peltondepth").unwrap().to_owned())
        .collect();
    assert_eq!(depths, ["1", "2", "3"]);
    let [dead_letter] = &world.dead_letters()[..] else { panic!() };
    assert!(dead_letter.cause.contains("4 reactions of sagas led to one another"), "{}", dead_letter.cause);
}

// R16: the log lines of a plugin could not be matched to a message.
#[tokio::test(start_paused = true)]
async fn every_log_line_of_an_input_carries_the_input_and_the_instance() {
    let listener = Log::listen(Level::INFO);
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "a").await;
    let lines = listener.take();
    let line = lines.iter().find(|line| log::message(line) == "reacting").expect("what the plugin wrote");
    let expected = serde_json::json!({
        "name": "saga input", "saga": "counter", "input": "event", "input_id": "start-a", "input_type": "start",
        "instance": "a", "stream": "stream", "sequence": 1, "attempt": 1, "plugin": "native", "digest": "sha256:native",
    });
    assert_eq!(line["span"], expected);
}

// R11: all instances waited while one was tried again.
#[tokio::test(start_paused = true)]
async fn an_input_that_is_tried_again_holds_up_its_instance_alone() {
    let world = World::new();
    let _host = world.host("a");
    world.publish("start", "slow:later");
    world.publish("start", "fast");
    world.publish("go", "slow,fast");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let calls = world.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("fast")).count(), 2, "{calls:?}");
    assert_eq!(world.count("slow"), None);
    world.settle().await;
    assert_eq!(world.calls(), ["slow start 1", "slow go 3"]);
}

// R19: the instances of one event shared its attempts, so one used up those of another.
#[tokio::test(start_paused = true)]
async fn every_instance_of_an_event_has_attempts_of_its_own() {
    let world = World::new();
    let _host = world.host("a");
    world.hand_in("start", "x:away,y:away").await;
    assert_eq!((world.dead_letters().len(), world.count("x"), world.count("y")), (0, Some(1), Some(1)));
}
