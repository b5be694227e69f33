//! The commands of an entity are decided in the order in which they were stored, whichever hosts come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use pelton_tests::payment;
use pelton_tests::process::Signal;
use pelton_tests::streams::Streams;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::house::{House, eventually};

const ORDERS: usize = 4;
/// The number of refunds of each order. Each is larger by a cent than the one before.
const REFUNDS: usize = 120;
/// What happens to the hosts happens each time that so many were sent.
const EVERY: usize = 20;
/// Longer than a host may be silent before another takes over.
const PAUSE: Duration = Duration::from_secs(5);

async fn send(streams: &Streams, kind: &str, id: &str, data: &Value) {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/order"), ("ce-type", kind)]
    {
        headers.insert(name, value);
    }
    let subject = format!("command.{kind}.{id}");
    let stored = streams.jetstream().publish_with_headers(subject, headers, data.to_string().into()).await;
    stored.expect("it is sent").await.expect("it is stored");
}

/// R13: with the second host, every command could overtake those before it.
#[tokio::test]
async fn over_joins_kills_stops_and_pauses_every_entity_has_its_commands_in_order() {
    let house = House::open_with(payment::example().config).await;
    let streams = house.streams().await;
    let mut hosts = vec![house.host().await, house.host().await, house.host().await];
    for order in 0..ORDERS {
        let id = json!({ "id": order.to_string() });
        let lines = [json!({ "item": "thing", "amountCents": 1_000_000 })];
        send(&streams, "place-order", &format!("p{order}"), &json!({ "order": id, "lines": lines })).await;
        let paid = json!({ "order": id, "amountCents": 1_000_000 });
        send(&streams, "withdraw", &format!("w{order}"), &paid).await;
    }
    for n in 1..=REFUNDS {
        for order in 0..ORDERS {
            let data = json!({ "order": { "id": order.to_string() }, "amountCents": n });
            send(&streams, "refund", &format!("r{order}-{n}"), &data).await;
        }
        match n / EVERY {
            _ if n % EVERY != 0 => {}
            // Whoever has the commands is among those to whom something happens.
            1 | 2 => {
                hosts.remove(0).kill().await;
                hosts.push(house.host().await);
            }
            3 => {
                for host in &hosts[..2] {
                    host.pelton.signal(Signal::STOP).expect("it stands still");
                }
                sleep(PAUSE).await;
                for host in &hosts[..2] {
                    host.pelton.signal(Signal::CONT).expect("it goes on");
                }
            }
            _ => {
                hosts.remove(0).stop().await;
                hosts.push(house.host().await);
            }
        }
    }
    let refunds = eventually("all commands are decided", async || {
        let mut refunds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in streams.events("payment").await? {
            if event.header("ce-type") == "refund-paid" {
                let amount = event.data()["amountCents"].as_u64().unwrap_or_default();
                refunds.entry(event.data()["order"]["id"].to_string()).or_default().push(amount);
            }
        }
        let paid: usize = refunds.values().map(Vec::len).sum();
        anyhow::ensure!(paid >= ORDERS * REFUNDS, "{paid} refunds are paid");
        Ok(refunds)
    })
    .await;
    let expected: Vec<u64> = (1..=REFUNDS as u64).collect();
    for (order, amounts) in refunds {
        assert_eq!(amounts, expected, "order {order}");
    }
    for host in hosts {
        host.stop().await;
    }
}
