//! The examples in the ordinary case.

use pelton_tests::example::Example;
use pelton_tests::process::Output;
use pelton_tests::{hotel, library, payment};
use serde_json::Value;

use crate::house::{Host, House, eventually};

#[tokio::test]
async fn the_hotel_goes_as_expected() {
    let house = House::open().await;
    let host = house.host().await;
    goes_as_expected(&hotel::example(), &house, &[&host]).await;
    house.views_equal_the_fold(&host).await;
    a_process_can_be_followed(&house).await;
    host.stop().await;
}

/// A host's live entity is always outdated, because the other host has handled the last step.
#[tokio::test]
async fn the_hotel_goes_as_expected_with_each_step_at_another_host() {
    let house = House::open().await;
    let hosts = [house.host().await, house.host().await];
    goes_as_expected(&hotel::example(), &house, &[&hosts[0], &hosts[1]]).await;
    for host in hosts {
        house.views_equal_the_fold(&host).await;
        host.stop().await;
    }
}

/// One step is an impatient client: the same request ten times at once, one withdrawal, ten equal answers.
#[tokio::test]
async fn the_payment_goes_as_expected() {
    let example = payment::example();
    let house = House::open_with(example.config).await;
    let host = house.host().await;
    goes_as_expected(&example, &house, &[&host]).await;
    host.stop().await;
}

#[tokio::test]
async fn the_payment_goes_as_expected_with_each_step_at_another_host() {
    let example = payment::example();
    let house = House::open_with(example.config).await;
    let hosts = [house.host().await, house.host().await];
    goes_as_expected(&example, &house, &[&hosts[0], &hosts[1]]).await;
    for host in hosts {
        host.stop().await;
    }
}

/// All four plugins together: a handler decides the saga's command, which the samples of the docs once lacked (N6).
#[tokio::test]
async fn the_library_goes_as_expected_and_its_saga_has_a_reader_reminded() {
    let house = House::open_with(library::example().config).await;
    the_library_goes_as_expected(&house).await;
}

pub(crate) async fn the_library_goes_as_expected(house: &House) {
    let host = house.host().await;
    goes_as_expected(&library::example(), house, &[&host]).await;
    let streams = house.streams().await;
    let reminded = eventually("ada is reminded", async || {
        let events = streams.read("library").await?;
        let reminded = events.into_iter().find(|event| event.subject == "reader.ada.reader-reminded.v1");
        reminded.ok_or_else(|| anyhow::anyhow!("there is no such event"))
    })
    .await;
    assert_eq!(reminded.data(), serde_json::json!({ "reader": "ada", "book": "emma" }));
    let cause = reminded.header("ce-causationid");
    assert!(cause.starts_with("saga:waiting:emma:library:"), "{cause}");
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    host.stop().await;
}

/// The client that `docs/nats.md` quotes: without HTTP it gets its outcome, and the same one again.
#[tokio::test]
async fn the_sample_publisher_is_answered_with_the_outcome() {
    let house = House::open_with(library::example().config).await;
    let host = house.host().await;
    let url = house.nats.url();
    let lend = async |id: &str, reader: &str| {
        let outcome = pelton_tests::publisher::lend(&url, id, "emma", reader);
        tokio::time::timeout(pelton_tests::PATIENCE, outcome).await.expect("in time").expect("an outcome")
    };
    let lent = lend("visit-1", "ada").await;
    assert_eq!((lent["commandId"].as_str(), lent["status"].as_str()), (Some("visit-1"), Some("accepted")));
    let refused = lend("visit-2", "bob").await;
    assert_eq!(
        (refused["status"].as_str(), refused["rejection"]["code"].as_str()),
        (Some("rejected"), Some("already-lent"))
    );
    host.stop().await;
}

pub(crate) async fn goes_as_expected(example: &Example, house: &House, hosts: &[&Host]) {
    let https: Vec<_> = hosts.iter().map(|host| &host.http).collect();
    let mut wrong = Vec::new();
    let good = example
        .run(&https, |taken| {
            if !taken.wrong.is_empty() {
                wrong.push(format!(
                    "{} {}: {:?}, {:?}",
                    taken.number, taken.step.title, taken.wrong, taken.answer
                ));
            }
        })
        .await;
    assert_eq!((good, wrong), (example.steps.len(), Vec::new()), "{}", hosts[0].pelton.last_lines());
    for (stream, _, wrong) in example.events(&house.streams().await).await.expect("the streams") {
        assert_eq!(wrong, Vec::<String>::new(), "{stream}");
    }
}

/// From the first command to the last event: each event names its cause and its process.
pub(crate) async fn a_process_can_be_followed(house: &House) {
    let events = house.events().await;
    let [booked, scheduled, cleaned, available, ..] = events.as_slice() else { panic!("{events:#?}") };
    let [process, cause] = ["ce-correlationid", "ce-causationid"];
    for (event, causing) in [(scheduled, booked), (available, cleaned)] {
        assert_eq!(event.header(process), causing.header(process));
        // The saga's command, whose id names the event that it was sent for.
        let command = format!("saga:housekeeping:1~2022-12-12:hotel:{}:0", causing.sequence);
        assert_eq!(event.header(cause), command);
    }
    for event in &events {
        assert_eq!(event.header("ce-specversion"), "1.0");
        let (id, n) = event.header("ce-id").rsplit_once(':').expect("a number at the end");
        assert_eq!((id, n), (event.header(cause), "0"), "{event:?}");
    }
}

#[tokio::test]
async fn a_log_for_programs_is_json_line_by_line() {
    let house = House::open().await;
    let host = house.host().await;
    hotel::example().run(&[&host.http], |_| {}).await;
    let out = host.pelton.said(Output::Stdout);
    assert_eq!(out, "", "stdout is for what was asked for");
    let log = host.stop().await.stderr;
    let mut messages = Vec::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(entry[field].is_string(), "no {field}: {line}");
        }
        messages.push(entry["message"].as_str().unwrap_or_default().to_owned());
    }
    for part in ["connected to NATS", "created stream hotel", "ready: http://127.0.0.1:", "stopped"] {
        assert!(messages.iter().any(|message| message.contains(part)), "{part:?} was not logged:\n{log}");
    }
}
