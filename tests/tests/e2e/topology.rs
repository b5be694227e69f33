//! A server that does not match the configuration.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use futures::TryStreamExt;

use crate::house::{EVENTS, House};

#[tokio::test]
async fn a_stream_with_other_settings_is_reported_field_by_field_and_left_alone() {
    let house = House::open().await;
    let streams = house.streams().await;
    let theirs = Config {
        name: EVENTS.to_owned(),
        subjects: vec!["booking.>".to_owned()],
        max_messages: 5,
        max_age: Duration::from_secs(3600),
        storage: StorageType::Memory,
        duplicate_window: Duration::from_secs(60),
        allow_direct: true,
        ..Config::default()
    };
    streams.jetstream().create_stream(&theirs).await.expect("a stream");
    let before = streams.info(EVENTS).await.expect("the stream").config;

    let ended = house.run().ended().await.expect("an end");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    for part in [
        "field subjects: configured booking.> cleaning.>, exists booking.>",
        "field max_msgs: configured no limit, exists 5",
        "field max_age: configured 0, exists 1h",
        "field storage: configured file, exists memory",
        "field duplicate_window: configured 1s, exists 1m",
        "field allow_atomic: configured true, exists nothing",
        "field deny_delete: configured true, exists false",
        "`pelton apply`",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in:\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("ready: "), "{}", ended.stderr);
    let after = streams.info(EVENTS).await.expect("the stream");
    assert_eq!(after.config, before);
    // Nothing was added either, least of all to a stream that may belong to another program.
    assert_eq!(after.state.consumer_count, 0, "{}", ended.stderr);
    let names: Vec<String> = streams.jetstream().stream_names().try_collect().await.expect("the streams");
    assert_eq!(names, [EVENTS], "{}", ended.stderr);
}

#[tokio::test]
async fn a_consumer_with_other_settings_is_reported_too() {
    let house = House::open().await;
    house.host().await.stop().await;
    house.configure(|text| text.replace("ack-wait = \"2s\"", "ack-wait = \"7s\""));
    let ended = house.run().ended().await.expect("an end");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    for consumer in
        ["booking of stream COMMANDS", "cleaning of stream COMMANDS", "saga-housekeeping of stream hotel"]
    {
        let part = format!("consumer {consumer}: field ack_wait: configured 7s, exists 2s");
        assert!(ended.stderr.contains(&part), "{part:?} is not in:\n{}", ended.stderr);
    }
}
