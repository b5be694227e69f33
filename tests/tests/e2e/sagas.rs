//! The hotel's saga on the real thing: timers, outcomes, crashes, and an operator with `pelton saga`.

use std::time::Duration;

use pelton_core::time::Timestamp;
use pelton_tests::http::Request;
use pelton_tests::process::Pelton;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::house::{House, SAGA, book, eventually};

const INSTANCE: &str = "7~2022-12-12";

/// Runs `pelton saga`, which must exit with this code, and returns the objects that it writes.
pub(crate) async fn saga(house: &House, arguments: &[&str], code: i32) -> Vec<Value> {
    let config = house.config();
    let folder = config.parent().expect("a folder");
    let arguments = [&["saga"], arguments, &["--json"]].concat();
    let pelton = Pelton::start(folder, arguments).expect("pelton starts");
    let ended = pelton.ended().await.expect("an end");
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

async fn types(house: &House) -> Vec<String> {
    let events = house.events().await;
    events.iter().map(|event| event.header("ce-type").to_owned()).collect()
}

/// A booking that is not paid in time is released and its cleaning cancelled; an operator does not wait so long.
#[tokio::test]
async fn an_operator_fires_a_timer_and_sees_what_follows() {
    let house = House::open().await;
    let host = house.host().await;
    assert_eq!(host.send(&book("book", 7, 1)).await.status, 201);
    eventually("the cleaning is scheduled", async || {
        anyhow::ensure!(saga(&house, &["list"], 0).await.len() == 1);
        let [shown] = &saga(&house, &["show", "housekeeping", INSTANCE], 0).await[..] else { panic!() };
        anyhow::ensure!(shown["recent"].as_array().is_some_and(|recent| recent.len() == 2), "{shown}");
        Ok(())
    })
    .await;
    let [shown] = &saga(&house, &["show", "housekeeping", INSTANCE], 0).await[..] else { panic!() };
    assert_eq!((&shown["status"], &shown["state"]["step"]), (&"waiting".into(), &"cleaning".into()));
    assert_eq!((&shown["timers"][0]["id"], &shown["open"]), (&"unpaid".into(), &json!([])));
    assert_eq!(shown["recent"][0]["what"], "room-booked");
    assert_eq!(shown["recent"][1]["what"], "outcome of schedule-cleaning: accepted");
    let due = Timestamp::parse(shown["timers"][0]["due"].as_str().expect("a time")).expect("a time");
    assert!(due > Timestamp::now());

    let listed = saga(&house, &["list", "--timer", "unpaid"], 0).await;
    assert_eq!(listed.len(), 1);
    assert!(saga(&house, &["list", "--status", "quarantined"], 0).await.is_empty());
    saga(&house, &["fire", "housekeeping", INSTANCE, "no-show"], 4).await;
    saga(&house, &["fire", "housekeeping", INSTANCE, "unpaid", "--dry-run"], 0).await;
    assert_eq!(types(&house).await.len(), 2);
    saga(&house, &["fire", "housekeeping", INSTANCE, "unpaid"], 0).await;
    eventually("the booking is released", async || {
        let mut types = types(&house).await;
        // Two handlers decide side by side.
        types[2..].sort();
        let expected =
            ["room-booked", "cleaning-scheduled", "booking-released", "cleaning-cancelled", "guest-told"];
        anyhow::ensure!(types == expected, "{types:?}");
        let [shown] = &saga(&house, &["show", "housekeeping", INSTANCE], 0).await[..] else { panic!() };
        anyhow::ensure!(shown["status"] == "ended", "{shown}");
        Ok(())
    })
    .await;
    // The timer is set no more, and the room can be booked again: another life of the same instance.
    saga(&house, &["fire", "housekeeping", INSTANCE, "unpaid"], 4).await;
    assert_eq!(host.send(&book("again", 7, 2)).await.status, 201);
    house.settle().await;
    house.views_equal_the_fold(&host).await;
    assert_eq!(saga(&house, &["list"], 0).await[0]["status"], "waiting");
    saga(&house, &["cancel", "housekeeping", INSTANCE, "--dry-run"], 0).await;
    saga(&house, &["cancel", "housekeeping", INSTANCE], 0).await;
    saga(&house, &["cancel", "housekeeping", INSTANCE], 4).await;
    let [shown] = &saga(&house, &["show", "housekeeping", INSTANCE], 0).await[..] else { panic!() };
    assert_eq!((&shown["status"], &shown["timers"]), (&"ended".into(), &json!([])));
    let audit = house.streams().await.read("AUDIT").await.expect("the audit stream");
    let of_instance = format!("audit.saga.housekeeping.{INSTANCE}.");
    let entries = audit.iter().filter(|entry| entry.subject.starts_with(&of_instance));
    let acts: Vec<Value> = entries.map(|entry| entry.data()["act"].clone()).collect();
    assert_eq!(acts, ["fired", "cancelled"], "what was only tried, or not there, is not noted");
    host.stop().await;
}

fn paid_within(house: &House, seconds: u32) {
    house.configure(|text| {
        let setting = format!("pay-within-seconds = \"{seconds}\"");
        assert!(text.contains("pay-within-seconds = \"900\""));
        text.replace("pay-within-seconds = \"900\"", &setting)
    });
}

/// The timer is the server's: it goes off with every host down, and is handled when one is back, once and not before.
#[tokio::test]
async fn timers_survive_hosts_that_are_killed_and_a_server_that_is() {
    let mut house = House::open().await;
    paid_within(&house, 2);
    let host = house.host().await;
    for room in 1..=5 {
        assert_eq!(host.send(&book(&format!("book-{room}"), room, 1)).await.status, 201);
    }
    house.settle().await;
    assert_eq!(types(&house).await.len(), 10);
    host.kill().await;
    house.nats.kill().await.expect("it is killed");
    sleep(Duration::from_secs(3)).await;
    house.nats.restart().await.expect("it starts again");
    let hosts = [house.host().await, house.host().await];
    eventually("every booking is released", async || {
        let types = types(&house).await;
        let released = types.iter().filter(|kind| *kind == "booking-released").count();
        anyhow::ensure!(released == 5 && types.len() == 25, "{types:?}");
        Ok(())
    })
    .await;
    house.settle().await;
    house.each_once().await;
    let streams = house.streams().await;
    let stream = streams.jetstream().get_stream("hotel").await.expect("the stream");
    let mut booked = std::collections::BTreeMap::new();
    for event in house.events().await {
        let stored =
            stream.get_raw_message(event.sequence).await.expect("the event").time.unix_timestamp_nanos();
        let room = event.data()["room"]["id"].to_string();
        match event.header("ce-type") {
            "room-booked" => drop(booked.insert(room, stored)),
            "booking-released" => assert!(stored - booked[&room] >= 2_000_000_000, "{event:?}"),
            _ => {}
        }
    }
    assert!(saga(&house, &["list"], 0).await.is_empty(), "every instance has ended");
    for host in hosts {
        host.stop().await;
    }
}

// R1: a client's command under an id that the saga was about to use made the cleaning of a booked room vanish.
#[tokio::test]
async fn nobody_takes_the_id_of_a_sagas_command() {
    let house = House::open().await;
    let host = house.host().await;
    let id = "saga:housekeeping:7~2022-12-12:hotel:1:0";
    let data = json!({ "room": { "id": 7 }, "date": "2022-12-12" });
    let body = json!({ "id": id, "data": data }).to_string();
    assert_eq!(host.send(&Request::put("/mutation/cleanup", body)).await.status, 400);
    // Who may publish what clients may reaches another subject.
    let streams = house.streams().await;
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/housekeeping/7~2022-12-12"),
        ("ce-type", "report-cleaned"),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    let subject = format!("command.report-cleaned.{id}");
    let sent = streams.jetstream().publish_with_headers(subject, headers, data.to_string().into()).await;
    sent.expect("it is sent").await.expect("it is stored");
    assert_eq!(host.send(&book("book", 7, 1)).await.status, 201);
    eventually("the cleaning is scheduled", async || {
        let types = types(&house).await;
        anyhow::ensure!(types == ["room-booked", "cleaning-scheduled"], "{types:?}");
        Ok(())
    })
    .await;
    let status = host.get(&format!("/commands/{id}")).await;
    assert_eq!((status.status, status.at("/status")), (200, "accepted".to_owned()));
    host.stop().await;
}

/// Gives the instance of a room a state that no version of the plugin has written.
async fn break_state(house: &House, room: usize) {
    let head = json!({
        "handled": {}, "life": "hotel:1", "state-bytes": 4, "state-version": 1, "digest": "", "numbered": 0,
        "correlation-id": "c",
    });
    store(house, room, format!("{head}\nnone")).await;
}

/// Takes the state away from the instance of a room.
async fn mend_state(house: &House, room: usize) {
    let own = house.streams().await.read(SAGA).await.expect("the stream");
    let subject = format!("saga.housekeeping.instance.{room}~2022-12-12");
    let stored = own.iter().find(|stored| stored.subject == subject).expect("the instance");
    let mut mended: Value =
        serde_json::from_str(stored.payload.lines().next().expect("a line")).expect("JSON");
    mended["state-bytes"] = Value::Null;
    store(house, room, format!("{mended}\n")).await;
}

async fn store(house: &House, room: usize, instance: String) {
    let subject = format!("saga.housekeeping.instance.{room}~2022-12-12");
    let streams = house.streams().await;
    let sent = streams.jetstream().publish(subject, instance.into()).await;
    sent.expect("it is sent").await.expect("it is stored");
}

async fn quarantined(house: &House, instances: usize) {
    eventually("they are quarantined", async || {
        let listed = saga(house, &["list", "--status", "quarantined"], 0).await;
        anyhow::ensure!(listed.len() == instances, "{listed:?}");
        Ok(())
    })
    .await;
}

/// What is quarantined goes on when its input is handled after all, or given up.
#[tokio::test]
async fn an_operator_resumes_and_skips() {
    let house = House::open().await;
    let host = house.host().await;
    for room in [7, 8] {
        break_state(&house, room).await;
        assert_eq!(host.send(&book(&format!("book-{room}"), room, 1)).await.status, 201);
    }
    quarantined(&house, 2).await;
    // It fails again, and says so.
    let resumed = saga(&house, &["resume", "housekeeping", INSTANCE], 4).await;
    assert_eq!(resumed[0]["result"], "failed", "{resumed:?}");
    let dry =
        saga(&house, &["skip", "housekeeping", "8~2022-12-12", "--reason", "broken", "--dry-run"], 0).await;
    assert_eq!(dry[0]["result"], "would-be-dropped", "{dry:?}");
    let skipped = saga(&house, &["skip", "housekeeping", "8~2022-12-12", "--reason", "broken"], 0).await;
    assert_eq!(skipped[0]["result"], "dropped", "{skipped:?}");
    // Somebody mends the state.
    let [shown] = &saga(&house, &["show", "housekeeping", INSTANCE], 0).await[..] else { panic!() };
    assert_eq!((&shown["status"], &shown["state"]), (&"quarantined".into(), &"none".into()));
    mend_state(&house, 7).await;
    let resumed = saga(&house, &["resume", "housekeeping", INSTANCE], 0).await;
    assert_eq!(resumed[0]["result"], "settled", "{resumed:?}");
    eventually("its cleaning is scheduled", async || {
        let types = types(&house).await;
        anyhow::ensure!(types == ["room-booked", "room-booked", "cleaning-scheduled"], "{types:?}");
        Ok(())
    })
    .await;
    saga(&house, &["resume", "housekeeping", INSTANCE], 4).await;
    host.stop().await;
}

/// The result of each room's instance, and the summary.
async fn bulk(house: &House, arguments: &[&str], code: i32) -> (Vec<(u64, String)>, Value) {
    let mut said = saga(house, arguments, code).await;
    let summary = said.pop().expect("a summary")["summary"].take();
    let result = |said: &Value| {
        let (room, _) = said["instance"].as_str().expect("an instance").split_once('~').expect("a day");
        (room.parse().expect("a room"), said["result"].as_str().expect("a result").to_owned())
    };
    let mut results: Vec<_> = said.iter().map(result).collect();
    results.sort();
    (results, summary)
}

fn results<const N: usize>(expected: [(u64, &str); N]) -> Vec<(u64, String)> {
    expected.map(|(room, result)| (room, result.to_owned())).into()
}

#[tokio::test]
async fn an_operator_changes_all_instances_that_a_filter_shows() {
    let house = House::open().await;
    let host = house.host().await;
    for room in 1..=5 {
        if room <= 3 {
            break_state(&house, room).await;
        }
        assert_eq!(host.send(&book(&format!("book-{room}"), room, 1)).await.status, 201);
    }
    quarantined(&house, 3).await;
    for wrong in [&["resume"][..], &["resume", "--status", "waiting"], &["cancel", "--status", "ended"]] {
        assert!(saga(&house, wrong, 2).await.is_empty());
    }
    let (dry, summary) = bulk(&house, &["resume", "--saga", "housekeeping", "--dry-run"], 0).await;
    assert_eq!(dry, results([1, 2, 3].map(|room| (room, "would-be-resumed"))));
    assert_eq!(summary["would-be-resumed"], 3);
    mend_state(&house, 2).await;
    let (resumed, summary) = bulk(&house, &["resume", "--status", "quarantined"], 4).await;
    assert_eq!(resumed, results([(1, "failed"), (2, "resumed"), (3, "failed")]));
    assert_eq!(summary, json!({ "resumed": 1, "changed-meanwhile": 0, "failed": 2, "not-tried": 0 }));
    house.settle().await;

    let skip = ["skip", "--all", "--reason", "broken"];
    let (skipped, summary) = bulk(&house, &skip, 0).await;
    assert_eq!((skipped, &summary["skipped"]), (results([(1, "skipped"), (3, "skipped")]), &2.into()));
    let dead = house.streams().await.read("DEAD_LETTERS").await.expect("the dead letters");
    assert!(dead.iter().all(|dead| dead.payload.is_empty()), "{dead:?}");
    // They are quarantined until their next input, and nothing waits.
    let (again, summary) = bulk(&house, &skip, 0).await;
    assert_eq!(again, results([(1, "changed-meanwhile"), (3, "changed-meanwhile")]));
    assert_eq!((&summary["skipped"], &summary["changed-meanwhile"]), (&0.into(), &2.into()));

    let cancel = ["cancel", "--saga", "housekeeping", "--timer", "unpaid"];
    let (dry, _) = bulk(&house, &[&cancel[..], &["--dry-run"]].concat(), 0).await;
    assert_eq!(dry, results([2, 4, 5].map(|room| (room, "would-be-cancelled"))));
    let (cancelled, summary) = bulk(&house, &cancel, 0).await;
    assert_eq!(cancelled, results([2, 4, 5].map(|room| (room, "cancelled"))));
    assert_eq!(summary["cancelled"], 3);
    assert_eq!(bulk(&house, &cancel, 0).await.0, []);
    let ended = saga(&house, &["list", "--status", "ended"], 0).await;
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(ended.iter().all(|ended| ended["timers"] == json!([])), "{ended:?}");
    let audit = house.streams().await.read("AUDIT").await.expect("the audit stream");
    let cancelled = audit.iter().filter(|entry| entry.data()["act"] == "cancelled");
    assert_eq!(cancelled.count(), 3, "what was only tried is not noted");
    host.stop().await;
}

/// Has the server give out no commands of a handler, until it is resumed.
async fn pause(house: &House, handler: &str, until: Option<&str>) {
    let streams = house.streams().await;
    let asked = format!("CONSUMER.PAUSE.COMMANDS.{handler}");
    let paused: Value =
        streams.jetstream().request(asked, &json!({ "pause_until": until })).await.expect("an answer");
    assert!(paused.get("error").is_none(), "{paused}");
}

// An instance waited for ever for an outcome that was lost with what was stored since the copy.
#[tokio::test]
async fn a_saga_whose_stream_is_an_older_copy_learns_how_its_commands_ended() {
    let mut house = House::open().await;
    let host = house.host().await;
    pause(&house, "cleaning", Some("2099-01-01T00:00:00Z")).await;
    assert_eq!(host.send(&book("book-7", 7, 1)).await.status, 201);
    let shown = async |house: &House, room: u32| {
        let instance = format!("{room}~2022-12-12");
        let mut shown = saga(house, &["show", "housekeeping", &instance], 0).await;
        shown.pop().unwrap_or_default()
    };
    let waits =
        async |house: &House, room: u32| shown(house, room).await["open"].as_array().map_or(0, Vec::len);
    eventually("the cleaning is asked for", async || {
        anyhow::ensure!(saga(&house, &["list"], 0).await.len() == 1 && waits(&house, 7).await == 1);
        Ok(())
    })
    .await;
    host.stop().await;
    house.keep_copy(SAGA).await;
    pause(&house, "cleaning", None).await;
    let host = house.host().await;
    assert_eq!(host.send(&book("book-8", 8, 1)).await.status, 201);
    house.settle().await;
    assert_eq!((waits(&house, 7).await, waits(&house, 8).await, types(&house).await.len()), (0, 0, 4));
    host.stop().await;

    house.restore_copy(SAGA).await;
    let host = house.host().await;
    eventually("what the saga sends again it is told again", async || {
        anyhow::ensure!(saga(&house, &["list"], 0).await.len() == 2 && waits(&house, 8).await == 0);
        Ok(())
    })
    .await;
    // Its command was sent before the copy was made: nobody sends it again.
    assert_eq!(waits(&house, 7).await, 1);
    let told = |result: &str, detail: &str| json!({ "saga": "housekeeping", "instance": INSTANCE, "result": result, "detail": detail });
    let one = "1 of 1 open commands have an outcome";
    let dry = saga(&house, &["retell", "--all", "--dry-run"], 0).await;
    assert!(dry.contains(&told("would-be-told", one)), "{dry:?}");
    assert_eq!(waits(&house, 7).await, 1);
    let all = saga(&house, &["retell", "--all"], 0).await;
    assert!(all.contains(&told("told", one)), "{all:?}");
    eventually("it is told", async || {
        anyhow::ensure!(waits(&house, 7).await == 0);
        Ok(())
    })
    .await;
    assert_eq!(shown(&house, 7).await["recent"][1]["what"], "outcome of schedule-cleaning: accepted");
    saga(&house, &["retell", "housekeeping", INSTANCE], 0).await;
    house.settle().await;
    house.each_once().await;
    assert_eq!(types(&house).await.len(), 4);
    host.stop().await;
}
