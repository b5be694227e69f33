//! An entity that is loaded from its snapshot knows everything that it knew before.

use anyhow::ensure;
use pelton_tests::http::{Answer, Request};
use pelton_tests::payment;
use serde_json::{Value, json};

use crate::house::{Host, House, eventually};

fn command(path: &str, id: &str, rest: &Value) -> Request {
    let mut data = json!({ "order": { "id": 1 } });
    data.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    Request::put(path, json!({ "id": id, "data": data }).to_string())
}

#[tokio::test]
async fn an_early_command_is_known_from_the_snapshot_when_no_outcome_is_kept_any_more() {
    let house = House::open_with(payment::example().config).await;
    house.configure(|text| format!("{text}\n[handlers.order.snapshots]\nevents = 5\n"));
    let refund = |id: &str| command("/payment/refund", id, &json!({ "amountCents": 100 }));
    let lines = json!({ "lines": [{ "item": "a desk", "amountCents": 900 }, { "item": "a lamp", "amountCents": 100 }] });
    let commands = [
        command("/payment/place-order", "place", &lines),
        command("/payment/withdraw", "pay", &json!({ "amountCents": 1000 })),
        refund("refund-1"), // the fifth event: a snapshot is taken
        refund("refund-2"),
    ];
    let host = house.host().await;
    let mut first = Vec::new();
    for command in &commands {
        let answer = host.send(command).await;
        assert_eq!(answer.status, 201, "{answer}");
        first.push(answer);
    }
    let streams = house.streams().await;
    eventually("a snapshot is kept", async || {
        ensure!(streams.info("KV_snapshots").await?.state.messages == 1);
        Ok(())
    })
    .await;
    host.stop().await;
    let events = streams.events("payment").await.expect("the events").len();
    assert_eq!(events, 6);

    // The log has let go of these commands; what is left are their events.
    streams.jetstream().delete_stream("COMMANDS").await.expect("it is deleted");
    let host = Host::ready(house.run_with(["--log", "info,pelton_core=debug"])).await;
    let seen = |answer: &Answer| (answer.status, answer.body.clone());
    for (command, first) in commands.iter().zip(&first) {
        assert_eq!(seen(&host.send(command).await), seen(first));
    }
    let restored = host.pelton.says("restored from its snapshot").await.expect("it says so");
    let restored: Value = serde_json::from_str(&restored).expect("JSON");
    assert_eq!((&restored["key"], &restored["folded"]), (&json!("payment-order.v1.order.1"), &json!(1)));
    assert_eq!(streams.events("payment").await.expect("the events").len(), events);

    // The entity also decides on its earlier state.
    let all = |id: &str, cents: u32| command("/payment/refund", id, &json!({ "amountCents": cents }));
    let refused = host.send(&all("too-much", 801)).await;
    assert_eq!((refused.status, refused.at("/code").as_str()), (409, "refund-exceeds-payment"), "{refused}");
    assert_eq!(host.send(&all("what-is-left", 800)).await.status, 201);
    let ended = host.stop().await;
    assert!(!ended.stderr.contains("the snapshot is ignored"), "{}", ended.stderr);
}
