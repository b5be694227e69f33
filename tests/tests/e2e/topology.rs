//! A server that does not match the configuration.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, StorageType};
use futures::TryStreamExt;
use pelton_tests::process::{Ended, Pelton};

use crate::house::{EVENTS, Host, House, book, check_in, eventually};

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
    for consumer in ["booking of stream COMMANDS", "cleaning of stream COMMANDS"] {
        let part = format!("consumer {consumer}: field ack_wait: configured 7s, exists 2s");
        assert!(ended.stderr.contains(&part), "{part:?} is not in:\n{}", ended.stderr);
    }
}

/// What the configuration says of one command and of its route.
const CHECK_IN: [&str; 2] = [
    "check-in = { room = \"/room/id\", day = \"/date\" }\n",
    "[[routes]]\npath = \"/mutation/checkin\"\ncommand = \"check-in\"\n",
];

fn without_check_in(text: &str) -> String {
    let text = text.replace(CHECK_IN[0], "");
    let (before, route) = text.split_once(CHECK_IN[1]).expect("the route");
    before.to_owned() + route.split_once("\n\n").map_or("", |(_example, rest)| rest)
}

/// R12: the host that was not restarted yet made a dead letter of it.
#[tokio::test]
async fn a_command_that_is_added_in_a_rolling_deploy_waits_for_a_host_that_knows_it() {
    let house = House::open().await;
    house.configure(|text| without_check_in(&text));
    let old = house.host().await;
    assert_eq!(old.send(&book("b1", 1, 1)).await.status, 201);
    house.configure(|text| text);
    let new = Host::ready(house.run_with(["--apply=additive"])).await;
    // It waits while the old host has the commands, which is until that hears of the new one.
    let decided = eventually("it is decided, although the old host runs", async || {
        let answer = new.send(&check_in("c1", 1, 1).with("Prefer", "wait=1")).await;
        anyhow::ensure!(answer.status != 202, "{answer}");
        Ok(answer)
    })
    .await;
    assert_eq!((decided.status, decided.at("/code").as_str()), (409, "room-not-available"), "{decided}");
    assert_eq!(old.send(&book("b2", 2, 2)).await.status, 201);
    old.stop().await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    new.stop().await;
}

async fn pelton<const N: usize>(house: &House, arguments: [&str; N]) -> Ended {
    let folder = house.config();
    let pelton = Pelton::start(folder.parent().expect("a folder"), arguments).expect("pelton starts");
    pelton.ended().await.expect("an end")
}

/// N2: after a command was added, the host did not start, and nothing at hand could help.
#[tokio::test]
async fn dev_adds_a_command_and_a_subject_with_a_line_each_and_apply_does_the_rest_after_a_yes() {
    let house = House::open().await;
    house.configure(|text| without_check_in(&text));
    Host::ready(house.dev("store")).await.stop().await;

    house.configure(|text| text.replace("\"cleaning.>\"", "\"cleaning.>\", \"cellar.>\""));
    let host = Host::ready(house.dev("store")).await;
    assert_eq!(host.send(&book("b1", 1, 1)).await.status, 201);
    let refused = host.send(&check_in("c1", 1, 1)).await;
    assert_eq!(refused.status, 409, "the new command is decided: {refused}");
    let ended = host.stop().await;
    for part in [
        "changed stream hotel: field subjects: configured booking.> cleaning.> cellar.>",
        "changed consumer booking of stream COMMANDS: field filter_subjects",
        "leaves it to a host with the new one",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in:\n{}", ended.stderr);
    }

    // The server of `dev` does not run now.
    house.configure(|text| text.replace("ack-wait = \"2s\"", "ack-wait = \"7s\""));
    let ended = house.dev("store").ended().await.expect("an end");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("`pelton apply --dev --store store`"), "{}", ended.stderr);
    let asked = pelton(&house, ["apply", "--dev", "--store", "store"]).await;
    assert_eq!(asked.code, Some(4), "{}", asked.stderr);
    assert!(asked.stderr.contains("nothing was changed: answer `y`"), "{}", asked.stderr);
    for part in
        ["consumer booking of stream COMMANDS", "field ack_wait: configured 7s, exists 2s", "for all hosts"]
    {
        assert!(asked.stdout.contains(part), "{part:?} is not in:\n{}", asked.stdout);
    }
    let applied = pelton(&house, ["apply", "--dev", "--store", "store", "--yes"]).await;
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    Host::ready(house.dev("store")).await.stop().await;
}

#[tokio::test]
async fn a_comparison_starts_nothing_and_says_what_differs() {
    let house = House::open().await;
    let absent = pelton(&house, ["check", "--nats"]).await;
    assert_eq!(absent.code, Some(0), "{}", absent.stderr);
    assert!(absent.stdout.contains("is missing; `pelton run` creates it"), "{}", absent.stdout);
    house.host().await.stop().await;
    let status = pelton(&house, ["status", "--json"]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["handlers"][0]["name"], "booking", "{status}");
    assert_eq!(status["views"][0]["lag"], 0, "{status}");
    // It may have been stopped before it ran the saga.
    assert_ne!(status["sagas"][0]["isRun"], true, "{status}");

    let same = pelton(&house, ["check", "--nats"]).await;
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    assert!(same.stdout.contains("the server is as the configuration wants it"), "{}", same.stdout);

    house.configure(|text| text.replace("\"cleaning.>\"", "\"cleaning.>\", \"cellar.>\""));
    let other = pelton(&house, ["check", "--nats", &house.nats.url()]).await;
    assert_eq!(other.code, Some(4), "{}", other.stderr);
    assert!(other.stdout.contains("the stream takes messages of more subjects"), "{}", other.stdout);
    let host = Host::ready(house.run_with(["--apply=additive"])).await;
    host.stop().await;
    let same = pelton(&house, ["check", "--nats"]).await;
    assert_eq!(same.code, Some(0), "{}", same.stderr);
}
