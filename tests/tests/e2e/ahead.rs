//! Many waiting commands of one entity are decided ahead and stored together, each with its own outcome.

use anyhow::ensure;
use async_nats::HeaderMap;
use pelton_core::command::backlinks::BACKLINKS;
use pelton_tests::http::Request;
use pelton_tests::payment;
use serde_json::json;

use crate::house::{House, eventually};

const REFUNDS: usize = 120;
/// The number of these commands that the money suffices for.
const COVERED: usize = 100;

#[tokio::test]
async fn many_commands_of_one_entity_are_stored_together_and_each_has_its_outcome() {
    let house = House::open_with(payment::example().config).await;
    let host = house.host().await;
    let order = |rest: serde_json::Value| {
        let mut data = json!({ "order": { "id": 1 } });
        data.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        data
    };
    let cents = u64::try_from(COVERED).expect("a number");
    let lines = json!({ "lines": [{ "item": "a lamp", "amountCents": cents }] });
    for (path, rest) in [("place-order", lines), ("withdraw", json!({ "amountCents": cents }))] {
        let body = json!({ "id": path, "data": order(rest) }).to_string();
        assert_eq!(host.send(&Request::put(format!("/payment/{path}"), body)).await.status, 201);
    }
    host.stop().await;

    // All of them wait when the host starts. Every tenth is sent twice.
    let streams = house.streams().await;
    for n in (0..REFUNDS).flat_map(|n| std::iter::repeat_n(n, if n % 10 == 0 { 2 } else { 1 })) {
        let mut headers = HeaderMap::new();
        let id = format!("refund-{n}");
        [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/test"), ("ce-type", "refund")]
            .into_iter()
            .for_each(|(name, value)| headers.insert(name, value));
        let data = order(json!({ "amountCents": 1 })).to_string();
        let stored =
            streams.jetstream().publish_with_headers(format!("command.refund.{id}"), headers, data.into());
        let stored = stored.await.expect("it is sent").await;
        // The log has an id once.
        assert!(stored.is_ok() || n % 10 == 0, "{stored:?}");
    }
    let host = house.host().await;
    eventually("all are settled", async || {
        ensure!(streams.commands_waiting().await? == 0);
        Ok(())
    })
    .await;
    let mut accepted = Vec::new();
    for n in 0..REFUNDS {
        let answer = host.get(&format!("/commands/refund-{n}")).await;
        match answer.at("/status").as_str() {
            "accepted" => accepted.push(answer.at("/events/0/sequence").parse::<u64>().expect("a number")),
            "rejected" => {}
            other => panic!("refund-{n} is {other}: {answer}"),
        }
    }
    assert_eq!(accepted.len(), COVERED);
    let events = streams.events("payment").await.expect("the events");
    let refunds: Vec<_> = events.iter().filter(|e| e.subject.contains("refund")).collect();
    let mut stored: Vec<u64> = refunds.iter().map(|event| event.sequence).collect();
    accepted.sort_unstable();
    stored.sort_unstable();
    assert_eq!(accepted, stored, "each is stored once");
    let together = refunds.iter().filter(|event| event.header(BACKLINKS).contains('-')).count();
    assert!(together > COVERED / 2, "only {together} were stored behind others of their batch");
    host.stop().await;
}
