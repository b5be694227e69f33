//! An operator's actions on dead letters: the real `pelton dlq` against running hosts.
//!
//! The failures are realistic: the plugin has too little memory for one large command, and the fix is a limit in the
//! configuration and a restart; or a row or an instance has a form that the plugin has not written.

use pelton_nats::subjects::is_mark;
use pelton_tests::PAUSE;
use pelton_tests::http::{Answer, Request};
use pelton_tests::process::{Ended, Pelton};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::fold;
use crate::house::{Host, House, book, check_in, cleanup, eventually};

const KEY: &str = "booking.1.2022-12-12";

/// The most commands that are sent to an entity while it is retried.
const MOST_SENT: usize = 100;

/// A hotel whose bookings park commands behind a failure.
async fn house() -> House {
    let house = House::open().await;
    house.configure(|text| parking(&text));
    house
}

/// A hotel whose plugin for bookings has enough memory for ordinary bookings, but not for [`large_booking`].
async fn fragile_house() -> House {
    let house = House::open().await;
    let limited = "hotel-booking.wasm\", limits = { memory-bytes = \"1216KiB\" } }";
    house.configure(|text| parking(&text.replace("hotel-booking.wasm\" }", limited)));
    house
}

fn parking(text: &str) -> String {
    let text = text.replace("entity = \"booking.", "on-failure = \"park\"\nentity = \"booking.");
    format!("[retry]\nmax-attempts = 2\nfirst-delay = \"10ms\"\n{text}")
}

fn large_booking(id: &str) -> Request {
    let small = book(id, 1, 1);
    let mut body: Value = serde_json::from_str(small.body.as_deref().unwrap_or_default()).expect("JSON");
    body["data"]["note"] = "x".repeat(220_000).into();
    Request { body: Some(body.to_string()), ..small }
}

/// Runs `pelton dlq` to its end.
async fn dlq(house: &House, arguments: &[&str]) -> Ended {
    start_dlq(house, arguments).ended().await.expect("an end")
}

fn start_dlq(house: &House, arguments: &[&str]) -> Pelton {
    let config = house.config();
    let folder = config.parent().expect("a folder");
    Pelton::start(folder, ["dlq"].iter().chain(arguments)).expect("pelton starts")
}

/// Runs `pelton dlq … --json`, which must exit with this code, and returns the objects that it writes.
async fn dlq_json(house: &House, arguments: &[&str], code: i32) -> Vec<Value> {
    let ended = dlq(house, &[arguments, &["--json"]].concat()).await;
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// The values of these names in each object.
fn pick(objects: &[Value], names: &[&str]) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    objects.iter().map(|object| names.iter().map(|name| text(&object[*name])).collect()).collect()
}

fn rows(expected: &[&[&str]]) -> Vec<Vec<String>> {
    expected.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
}

/// A host on which `large` has failed, and `second` and `third` are parked behind it.
async fn with_a_queue(house: &House) -> Host {
    let host = house.host().await;
    let failed = host.send(&large_booking("large")).await;
    assert_eq!((failed.status, failed.at("/code").as_str()), (500, "command-failed"), "{failed}");
    for id in ["second", "third"] {
        let parked = host.send(&check_in(id, 1, 1)).await;
        assert_eq!((parked.status, parked.at("/status").as_str()), (202, "parked"), "{parked}");
    }
    host
}

/// The same house with enough memory.
async fn fixed(house: &House) -> Host {
    house.configure(|text| parking(&text));
    house.host().await
}

async fn status(host: &Host, id: &str) -> (u16, String) {
    let answer = host.get(&format!("/commands/{id}")).await;
    (answer.status, answer.at("/status"))
}

/// The commands that have ended without failing, in order.
async fn ended(house: &House) -> Vec<String> {
    let messages = house.streams().await.read("hotel").await.expect("the stream");
    let mut ended: Vec<String> = Vec::new();
    for message in messages {
        let id = message.header("Pelton-Command").split(' ').next().expect("an id").to_owned();
        let failed = is_mark(&message.subject) && message.data()["status"] == "failed";
        if !failed && !ended.contains(&id) {
            ended.push(id);
        }
    }
    ended
}

#[tokio::test]
async fn what_is_parked_is_listed_shown_and_told_to_whoever_waits() {
    let house = fragile_house().await;
    let host = with_a_queue(&house).await;
    assert_eq!(host.send(&book("elsewhere", 2, 1)).await.status, 201, "other entities go on");
    assert_eq!(status(&host, "large").await, (200, "failed".to_owned()));
    assert_eq!(status(&host, "third").await, (202, "parked".to_owned()));

    let listed = dlq_json(&house, &["list"], 0).await;
    let expected = rows(&[
        &["1", "failed", KEY, "large"],
        &["2", "parked", KEY, "second"],
        &["3", "parked", KEY, "third"],
    ]);
    assert_eq!(pick(&listed, &["sequence", "kind", "key", "command"]), expected);
    for (filter, count) in [
        (&["--kind", "parked"][..], 2),
        (&["--entity", KEY], 3),
        (&["--consumer", "cleaning"], 0),
        (&["--command", "third"], 1),
        (&["--since", "1h", "--until", "2999-01-01T00:00:00Z"], 3),
        (&["--until", "1h"], 0),
        (&["--limit", "2"], 2),
    ] {
        let found = dlq_json(&house, &[&["list"], filter].concat(), 0).await;
        assert_eq!(found.len(), count, "{filter:?}");
    }
    let table = dlq(&house, &["list"]).await.stdout;
    assert!(table.starts_with("SEQUENCE") && table.contains("asked for more than 1216 KiB"), "{table}");

    let [shown] = dlq_json(&house, &["show", "1"], 0).await.try_into().expect("one letter");
    assert!(shown["cause"].as_str().is_some_and(|cause| cause.contains("guest backtrace")), "{shown}");
    assert!(shown["payload"].as_str().is_some_and(|payload| payload.contains("\"note\":\"xxx")), "{shown}");
    assert_eq!((&shown["attempts"], &shown["history"][0]["what"]), (&json!(2), &json!("kept")), "{shown}");
    let text = dlq(&house, &["show", "3"]).await.stdout;
    for part in ["command   third", "it waits behind dead letter 2", "ce-id: third", "kept as parked"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_entity_is_retried_in_order_while_new_commands_for_it_keep_coming() {
    let house = fragile_house().await;
    with_a_queue(&house).await.stop().await;
    let host = fixed(&house).await;
    let before = house.streams().await.info("AUDIT").await.expect("a stream").state.last_sequence;
    let plan = dlq_json(&house, &["retry", "--entity", KEY, "--dry-run"], 0).await;
    assert_eq!(pick(&plan, &["result"]), rows(&[&["would-be-retried"][..]; 3]));
    let after = house.streams().await.info("AUDIT").await.expect("a stream").state.last_sequence;
    assert_eq!((before, dlq_json(&house, &["list"], 0).await.len()), (after, 3), "a dry run changes nothing");

    let mut sent: Vec<String> = ["large", "second", "third"].map(str::to_owned).to_vec();
    let retry = tokio::spawn({
        let pelton = start_dlq(&house, &["retry", "--entity", KEY, "--json", "--by", "ada"]);
        async move { pelton.ended().await.expect("an end") }
    });
    // Limited, so that the retry ends: it takes longer for each command than sending one does.
    while !retry.is_finished() && sent.len() < MOST_SENT {
        let id = format!("new-{}", sent.len());
        let answer: Answer = host.send(&check_in(&id, 1, 1).with("Prefer", "wait=0")).await;
        assert_eq!(answer.status, 202, "{answer}");
        sent.push(id);
        sleep(PAUSE / 10).await;
    }
    let retried = retry.await.expect("it ends");
    assert_eq!(retried.code, Some(0), "{}\n{}", retried.stdout, retried.stderr);
    eventually("everything has an outcome", async || {
        let ended = ended(&house).await.len();
        anyhow::ensure!(ended >= sent.len(), "{ended} of {}", sent.len());
        Ok(())
    })
    .await;
    let order: Vec<String> = ended(&house).await.into_iter().filter(|id| sent.contains(id)).collect();
    assert_eq!(order, sent, "decided in the order in which they came, the failed one first");
    assert_eq!(status(&host, "large").await, (200, "accepted".to_owned()));
    assert_eq!(dlq_json(&house, &["list"], 0).await, [] as [Value; 0]);
    let direct = host.send(&check_in("afterwards", 1, 1)).await;
    assert_eq!((direct.status, direct.at("/code").as_str()), (409, "room-not-available"), "{direct}");

    let audit = house.streams().await.read("AUDIT").await.expect("the audit stream");
    let of_first: Vec<_> =
        audit.iter().filter(|entry| entry.subject.starts_with("audit.dead-letter.1.")).collect();
    let what: Vec<_> =
        of_first.iter().map(|entry| (entry.data()["what"].clone(), entry.data()["by"].clone())).collect();
    assert_eq!(
        what,
        [(json!("kept"), Value::Null), (json!("retried"), json!("ada")), (json!("settled"), Value::Null)]
    );
    house.settle().await;
    house.each_once().await;
    host.stop().await;
}

#[tokio::test]
async fn a_retry_that_was_killed_is_simply_run_again() {
    let house = fragile_house().await;
    with_a_queue(&house).await.stop().await;
    house.configure(|text| parking(&text));
    let streams = house.streams().await;
    // No host runs, so the retry has sent the first command and waits.
    for _ in 0..2 {
        let killed = start_dlq(&house, &["retry", "--entity", KEY]);
        eventually("the first command is sent", async || {
            anyhow::ensure!(streams.commands_waiting().await? == 1);
            Ok(())
        })
        .await;
        killed.kill().await.expect("an end");
        assert_eq!(dlq_json(&house, &["list"], 0).await.len(), 3, "nothing is lost");
    }
    let host = house.host().await;
    let retried = dlq_json(&house, &["retry", "--entity", KEY], 0).await;
    let expected = rows(&[
        &["large", "settled", "accepted"],
        &["second", "settled", "rejected"],
        &["third", "settled", "rejected"],
    ]);
    assert_eq!(pick(&retried, &["command", "result", "detail"]), expected);
    house.settle().await;
    assert_eq!(house.each_once().await["room-booked"], 1);
    let order: Vec<String> =
        ended(&house).await.into_iter().filter(|id| !id.contains("housekeeping")).collect();
    assert_eq!(order, ["large", "second", "third"]);
    host.stop().await;
}

#[tokio::test]
async fn what_fails_again_stays_first_and_what_is_dropped_has_failed_for_good() {
    let house = fragile_house().await;
    let host = with_a_queue(&house).await;
    let retried = dlq_json(&house, &["retry", "--consumer", "booking"], 4).await;
    let expected = rows(&[&["large", "failed"], &["second", "not-tried"], &["third", "not-tried"]]);
    assert_eq!(pick(&retried, &["command", "result"]), expected);
    assert_eq!(status(&host, "large").await, (200, "failed".to_owned()));
    let alone = dlq_json(&house, &["retry", "3"], 4).await;
    assert_eq!(pick(&alone, &["result", "detail"]), rows(&[&["waits", "dead letter 1 comes first"]]));
    let text = dlq(&house, &["show", "1"]).await.stdout;
    assert!(text.contains("failed again: ") && text.contains("retried by "), "{text}");

    let plan = dlq_json(&house, &["drop", "1", "2", "--reason", "no use", "--dry-run"], 0).await;
    assert_eq!(pick(&plan, &["result"]), rows(&[&["would-be-dropped"][..]; 2]));
    let dropped = dlq_json(&house, &["drop", "1", "2", "--reason", "no use", "--by", "ada"], 0).await;
    assert_eq!(
        pick(&dropped, &["command", "result"]),
        rows(&[&["large", "dropped"], &["second", "dropped"]])
    );
    let outcome = host.get("/commands/second").await;
    assert_eq!((outcome.status, outcome.at("/cause").as_str()), (200, "dropped by ada: no use"), "{outcome}");
    let again = host.send(&check_in("second", 1, 1)).await;
    assert_eq!(again.status, 500, "what was given up is not decided after all: {again}");
    // The third was not dropped, so the entity still waits.
    assert_eq!(host.send(&check_in("fourth", 1, 1)).await.at("/status"), "parked");
    let rest = dlq_json(&house, &["retry", "--all"], 0).await;
    assert_eq!(pick(&rest, &["command", "detail"]), rows(&[&["third", "rejected"], &["fourth", "rejected"]]));
    host.stop().await;
}

#[tokio::test]
async fn a_selection_that_says_nothing_is_refused_and_what_is_no_command_can_be_dropped() {
    let house = House::open().await;
    let host = house.host().await;
    for (arguments, part) in [
        (&["retry"][..], "nothing is selected"),
        (&["drop", "--reason", "x"], "nothing is selected"),
        (&["drop", "--all"], "--reason"),
        (&["retry", "1", "--all"], "exclude each other"),
        (&["list", "--since", "yesterday"], "how long ago"),
    ] {
        let ended = dlq(&house, arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
    let missing = dlq(&house, &["show", "7"]).await;
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(4), "error: there is no dead letter 7\n"));

    let streams = house.streams().await;
    let stored = streams.jetstream().publish("command.paint-room.p1", "{}".into()).await.expect("sent");
    stored.await.expect_err("who publishes what no handler takes is told so at once");
    let stored = streams.jetstream().publish("command.book-room.p1", "{}".into()).await.expect("sent");
    stored.await.expect("stored");
    let listed = eventually("it is kept", async || {
        let listed = dlq_json(&house, &["list", "--consumer", "booking"], 0).await;
        anyhow::ensure!(!listed.is_empty());
        Ok(listed)
    })
    .await;
    assert_eq!(pick(&listed, &["subject", "command"]), rows(&[&["command.book-room.p1", "p1"]]));
    let retried = dlq_json(&house, &["retry", "--all"], 4).await;
    assert_eq!(pick(&retried, &["result"]), rows(&[&["impossible"]]));
    dlq_json(&house, &["drop", "--consumer", "booking", "--reason", "a typo"], 0).await;
    assert_eq!(dlq_json(&house, &["list"], 0).await, [] as [Value; 0]);
    host.stop().await;
}

/// Stores events like those of room 2 for room 7. Returns their number.
async fn copy_events(house: &House) -> usize {
    let events = house.events().await;
    for (n, event) in events.iter().enumerate() {
        let subject = event.subject.replacen(".2.", ".7.", 1);
        let mut data = event.data();
        data["room"]["id"] = 7.into();
        let mut headers = async_nats::HeaderMap::new();
        for name in ["ce-specversion", "ce-source", "ce-type", "ce-time", "ce-datacontenttype"] {
            headers.insert(name, event.header(name));
        }
        headers.insert("ce-id", format!("copy-{n}"));
        let streams = house.streams().await;
        let stored =
            streams.jetstream().publish_with_headers(subject, headers, data.to_string().into()).await;
        stored.expect("it is sent").await.expect("it is stored");
    }
    events.len()
}

/// A guest's whole stay in room 2.
async fn stay(host: &Host) {
    assert_eq!(host.send(&book("book", 2, 1)).await.status, 201);
    let view = Request::get("/views/bookings/2.2022-12-12");
    for (wanted, command) in [("cleaning", cleanup("clean", 2)), ("available", check_in("enter", 2, 1))] {
        let reached = host.http.until(&view, |answer| answer.at("/availability") == wanted).await;
        reached.expect("the room gets there");
        assert_eq!(host.send(&command).await.status, 201);
    }
}

/// Writes a row that is not a booking in place of room 7's, or removes it again.
async fn write_row(house: &House, broken: bool) {
    let mut headers = async_nats::HeaderMap::new();
    if !broken {
        headers.insert("KV-Operation", "DEL");
    }
    let payload = if broken { "no booking" } else { "" };
    let streams = house.streams().await;
    let row = "$KV.bookings-v1.r.7.2022-12-12";
    let stored = streams.jetstream().publish_with_headers(row, headers, payload.into()).await;
    stored.expect("it is sent").await.expect("it is stored");
}

/// A host whose view has set aside all events of room 7, and the number of these events.
async fn with_a_parked_view(house: &House) -> (Host, usize) {
    let host = house.host().await;
    stay(&host).await;
    house.settle().await;
    write_row(house, true).await;
    let copied = copy_events(house).await;
    let dead_letters = eventually("all events of the key are set aside", async || {
        let dead_letters = dlq_json(house, &["list", "--key", "7.2022-12-12"], 0).await;
        anyhow::ensure!(dead_letters.len() >= copied, "{} of {copied}", dead_letters.len());
        Ok(dead_letters)
    })
    .await;
    assert_eq!(
        (&dead_letters[0]["kind"], &dead_letters[0]["consumer"]),
        (&json!("failed"), &json!("bookings"))
    );
    assert!(dead_letters[1..].iter().all(|dead_letter| dead_letter["kind"] == "parked"), "{dead_letters:?}");
    (host, dead_letters.len())
}

#[tokio::test]
async fn parked_events_of_a_view_are_retried_by_the_host_and_the_view_is_the_fold_again() {
    let house = house().await;
    let (host, count) = with_a_parked_view(&house).await;
    let still = dlq_json(&house, &["retry", "--consumer", "bookings"], 4).await;
    assert_eq!((&still[0]["result"], &still[1]["result"]), (&json!("failed"), &json!("not-tried")));
    assert_eq!(dlq_json(&house, &["list"], 0).await.len(), count);
    host.stop().await;

    write_row(&house, false).await;
    let unanswered = dlq_json(&house, &["retry", "--consumer", "bookings", "--wait", "50ms"], 4).await;
    assert_eq!(unanswered[0]["result"], "unanswered", "no host runs; the request stays for the next");
    let host = house.host().await;
    let retried = dlq_json(&house, &["retry", "--consumer", "bookings"], 0).await;
    assert!(retried.iter().all(|dead_letter| dead_letter["result"] == "settled"), "{retried:?}");
    assert_eq!(dlq_json(&house, &["list"], 0).await, [] as [Value; 0]);
    house.views_equal_the_fold(&host).await;
    assert_eq!(host.get("/views/bookings/7.2022-12-12").await.at("/availability"), "occupied");
    host.stop().await;
}

#[tokio::test]
async fn a_view_goes_on_without_what_is_dropped() {
    let house = house().await;
    let (host, count) = with_a_parked_view(&house).await;
    write_row(&house, false).await;
    let dead_letters = dlq_json(&house, &["list"], 0).await;
    let first = dead_letters[0]["sequence"].to_string();
    let dropped = dlq_json(&house, &["drop", &first, "--reason", "nobody booked room 7"], 0).await;
    assert_eq!(pick(&dropped, &["result"]), rows(&[&["dropped"]]));
    // The others were retried, on a view that has never seen it.
    assert_eq!(dlq_json(&house, &["list"], 0).await.len(), 0, "of {count}");
    let mut events = house.events().await;
    let dropped = dead_letters[0]["streamSequence"].as_u64();
    events.retain(|event| Some(event.sequence) != dropped);
    let found = fold::rows(&host.get("/views/bookings?limit=1000").await.json());
    assert_eq!(found, fold::bookings(&events));
    host.stop().await;
}

/// The instance of room 7: a line of JSON, then its state.
const INSTANCE: &str = "saga.housekeeping.instance.7~2022-12-12";

async fn write_instance(house: &House, head: &Value, state: &str) {
    let streams = house.streams().await;
    let stored = streams.jetstream().publish(INSTANCE, format!("{head}\n{state}").into()).await;
    stored.expect("it is sent").await.expect("it is stored");
}

#[tokio::test]
async fn a_quarantined_instance_is_retried_by_the_host_and_goes_on() {
    let house = house().await;
    let host = house.host().await;
    assert_eq!(host.send(&book("book", 2, 1)).await.status, 201);
    house.settle().await;
    // A state that no version of the plugin has written.
    let head = json!({
        "handled": {}, "state-bytes": 4, "state-version": 1, "digest": "", "numbered": 0, "correlation-id": "",
    });
    write_instance(&house, &head, "none").await;
    copy_events(&house).await;
    let list = &["list", "--consumer", "housekeeping", "--key", "7~2022-12-12"];
    eventually("the input is set aside", async || {
        let dead_letters = dlq_json(&house, list, 0).await;
        anyhow::ensure!(!dead_letters.is_empty());
        Ok(())
    })
    .await;
    house.settle().await;
    let dead_letters = dlq_json(&house, list, 0).await;
    assert_eq!(dead_letters[0]["kind"], "failed");
    assert!(dead_letters[1..].iter().all(|dead_letter| dead_letter["kind"] == "parked"), "{dead_letters:?}");

    let records = house.streams().await.read("SAGA-housekeeping").await.expect("the instances");
    let record = records.iter().find(|stored| stored.subject == INSTANCE).expect("the instance");
    let line = record.payload.lines().next().expect("a line");
    let mut head: Value = serde_json::from_str(line).expect("JSON");
    head["state-bytes"] = Value::Null;
    write_instance(&house, &head, "").await;
    let retried = dlq_json(&house, &["retry", "--consumer", "housekeeping"], 0).await;
    assert!(retried.iter().all(|dead_letter| dead_letter["result"] == "settled"), "{retried:?}");
    assert_eq!(retried.len(), dead_letters.len());
    house.settle().await;
    let ended = ended(&house).await;
    let sent = ended.iter().filter(|id| id.starts_with("saga:housekeeping:7~"));
    assert_eq!(sent.count(), 1, "the command that the input leads to was sent once: {ended:?}");
    host.stop().await;
}
