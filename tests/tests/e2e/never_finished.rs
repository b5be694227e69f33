//! A command that ends every host that decides it.

use std::time::Duration;

use pelton_nats::failpoint::VARIABLE;
use pelton_tests::process::Pelton;
use serde_json::json;
use tokio::time::timeout;

use crate::dead_letters::dlq_json;
use crate::direct::{binary, publish};
use crate::house::{Host, House, book, eventually};

/// A host that has not ended after this time goes on.
const QUIET: Duration = Duration::from_secs(8);

/// A host that the command `killer` ends. `None`: it did.
async fn survivor(house: &House) -> Option<Pelton> {
    let config = house.config();
    let folder = config.parent().expect("a folder");
    let variables = [(VARIABLE, "before-append:of=killer".to_owned())];
    let host = Pelton::start_with(folder, ["run", "--listen", "127.0.0.1:0"], &variables);
    let host = host.expect("a process");
    // Both end at once where the host does.
    host.address().await.ok()?;
    let ended = timeout(QUIET, host.says("what no host says")).await.is_ok();
    (!ended).then_some(host)
}

async fn becomes(host: &Host, id: &str, status: &str) {
    eventually("the command has ended", async || {
        let answer = host.get(&format!("/commands/{id}")).await;
        anyhow::ensure!(answer.at("/status") == status, "{answer}");
        Ok(())
    })
    .await;
}

// R10: it came back for ever, to every host.
#[tokio::test]
async fn a_command_that_ends_every_host_is_set_aside_and_the_others_go_on() {
    let house = House::open().await;
    let host = house.host().await;
    assert_eq!(host.send(&book("first", 1, 1)).await.status, 201);
    host.stop().await;
    for (id, room) in [("killer", 2), ("beside", 3)] {
        let data = json!({ "room": { "id": room }, "client": { "id": 1 }, "date": "2022-12-12" });
        publish(&house, &format!("command.book-room.{id}"), &binary(id, "book-room"), &data.to_string())
            .await;
    }
    let mut deaths = 0;
    let host = loop {
        match survivor(&house).await {
            Some(host) => break Host::ready(host).await,
            None => deaths += 1,
        }
        assert!(deaths < 12, "it comes for ever");
    };
    assert!(deaths > 3, "what was in hand when a host ended once or twice is not to blame");
    becomes(&host, "beside", "accepted").await;
    becomes(&host, "killer", "parked").await;
    let [letter] = &dlq_json(&house, &["list"], 0).await[..] else { panic!("one dead letter") };
    let cause = letter["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("it was never finished"), "{letter}");
    host.stop().await;

    // Once what ended the hosts is mended, it is tried again.
    let host = house.host().await;
    dlq_json(&house, &["retry", "--all"], 0).await;
    becomes(&host, "killer", "accepted").await;
    house.settle().await;
    house.each_once().await;
    host.stop().await;
}
