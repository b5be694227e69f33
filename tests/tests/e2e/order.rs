//! The commands of an entity are decided in the order in which they were stored, whichever hosts come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use pelton_core::partition::Partitions;
use pelton_core::subject::EntityTemplate;
use pelton_tests::payment;
use pelton_tests::process::{Pelton, Signal};
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

/// Publishes a command of an order, as a client does that needs no HTTP.
async fn send(streams: &Streams, partitions: Partitions, kind: &str, id: &str, data: &Value) {
    let order = data["order"]["id"].as_str().expect("an order").to_owned();
    let template = EntityTemplate::parse("order.{order}").expect("a template");
    let entity = template.entity(&BTreeMap::from([("order", order)])).expect("an entity");
    let place = partitions.of(&entity).of_name(kind);
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/order"), ("ce-type", kind)]
    {
        headers.insert(name, value);
    }
    let subject = format!("command.{place}.{id}");
    let stored = streams.jetstream().publish_with_headers(subject, headers, data.to_string().into()).await;
    stored.expect("it is sent").await.expect("it is stored");
}

/// Waits until each partition is with one host, and several hosts have some where there are several.
async fn shared_out(house: &House, partitions: Partitions) {
    eventually("the partitions are shared out", async || {
        let folder = house.config().parent().expect("a folder").to_owned();
        let ended = Pelton::start(&folder, ["hosts", "--json"])?.ended().await?;
        let hosts: Vec<Value> = serde_json::from_str(&ended.stdout)?;
        let of = |host: &Value| host["handlers"].as_array().map_or(0, Vec::len);
        let all: usize = hosts.iter().map(of).sum();
        anyhow::ensure!(all == partitions.count(), "{all} are with a host: {hosts:?}");
        let busy = hosts.iter().filter(|host| of(host) > 0).count();
        anyhow::ensure!(busy > 1 || partitions == Partitions::ONE, "one host has all");
        Ok(())
    })
    .await;
}

/// R13: with the second host, every command could overtake those before it.
#[tokio::test]
async fn over_joins_kills_stops_and_pauses_every_entity_has_its_commands_in_order() {
    keeps_the_order(1).await;
}

#[tokio::test]
async fn with_partitions_too_and_several_hosts_have_some() {
    keeps_the_order(8).await;
}

async fn keeps_the_order(partitions: u16) {
    let house = House::open_with(payment::example().config).await;
    house.configure(|text| {
        text.replace("[handlers.order]\n", &format!("[handlers.order]\npartitions = {partitions}\n"))
    });
    let partitions = Partitions::new(partitions).expect("a number");
    let streams = house.streams().await;
    let mut hosts = vec![house.host().await, house.host().await, house.host().await];
    shared_out(&house, partitions).await;
    for order in 0..ORDERS {
        let id = json!({ "id": order.to_string() });
        let lines = [json!({ "item": "thing", "amountCents": 1_000_000 })];
        send(
            &streams,
            partitions,
            "place-order",
            &format!("p{order}"),
            &json!({ "order": id, "lines": lines }),
        )
        .await;
        let paid = json!({ "order": id, "amountCents": 1_000_000 });
        send(&streams, partitions, "withdraw", &format!("w{order}"), &paid).await;
    }
    for n in 1..=REFUNDS {
        for order in 0..ORDERS {
            let data = json!({ "order": { "id": order.to_string() }, "amountCents": n });
            send(&streams, partitions, "refund", &format!("r{order}-{n}"), &data).await;
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
