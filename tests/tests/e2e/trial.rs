//! Versions on trial: what they break, the version before does, and the hosts go back by themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::hostile::HANDLER;
use crate::hostile::guests::{handler, one_event, projection};
use crate::house::{House, eventually};
use crate::store::{component, done, house, push, refused, send, versions};

/// Version 1 of the handler runs; version 2 breaks on every command.
async fn house_with_a_broken_version() -> House {
    let house = house().await;
    let [quiet, _] = versions(&house);
    let broken = component(&house, "broken", &handler(&[("decide", "(unreachable)")]));
    push(&house, &quiet, "1").await;
    push(&house, &broken, "2").await;
    done(&house, &["activate", "hostile@1"]).await;
    house
}

/// Waits until a plugin was taken back.
async fn goes_back(house: &House, plugin: &str) {
    eventually("the hosts go back", async || {
        let history = done(house, &["history", plugin]).await;
        anyhow::ensure!(history.contains("rolled back because the version after it broke"), "{history}");
        Ok(())
    })
    .await;
}

/// The version before decides what the new one breaks, until all hosts have gone back to it.
#[tokio::test]
async fn a_version_that_breaks_is_taken_back_by_itself_and_no_caller_sees_it() {
    let house = house_with_a_broken_version().await;
    let hosts = [house.host().await, house.host().await];
    // Nothing was sent yet, so the gate has nothing to try it on.
    done(&house, &["activate", "hostile@2"]).await;
    let (sent, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let load = async {
        while !stop.is_cancelled() {
            let n = sent.fetch_add(1, Ordering::Relaxed);
            let answer = send(&hosts[n % 2], &format!("load-{n}"), n % 5).await;
            assert_eq!(answer.status, 200, "{answer}");
        }
    };
    let switches = async {
        goes_back(&house, "hostile").await;
        eventually("every host runs the first version", async || {
            let shown = done(&house, &["show", "hostile", "--json"]).await;
            let shown: Value = serde_json::from_str(&shown)?;
            anyhow::ensure!(shown["activation"]["runs"]["version"] == "1", "{shown}");
            Ok(())
        })
        .await;
        stop.cancel();
    };
    tokio::join!(load, switches);
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    refused(&house, &["rollback", "hostile"], "is the first version").await;
    // By now there are commands that it breaks on, and the version that runs does not.
    refused(&house, &["activate", "hostile@2"], "smoke: breaks on").await;
    for host in hosts {
        host.stop().await;
    }
}

const VIEW: &str = r#"
[plugins.seen]
source = "store"

[projections.seen]
plugin = "seen"
stream = "shop"
"#;

/// A projection's events were dead letters, or waited, until somebody went back.
#[tokio::test]
async fn a_projection_that_breaks_is_taken_back_by_itself_and_its_view_goes_on() {
    let house = House::open().await;
    let quiet = component(&house, "hostile", &handler(&[("decide", one_event(*b"done", 10).as_str())]));
    house.configure(|text| text + HANDLER + VIEW);
    assert!(quiet.ends_with("hostile.wasm"));
    let works = component(&house, "works", &projection(&[])).display().to_string();
    let broken = component(&house, "broken", &projection(&[("keys", "(unreachable)")])).display().to_string();
    done(&house, &["push", "seen", &works, "--version", "1"]).await;
    done(&house, &["push", "seen", &broken, "--version", "2"]).await;
    done(&house, &["activate", "seen@1"]).await;
    let host = house.host().await;
    // There is no event yet that it could be tried on.
    done(&house, &["activate", "seen@2"]).await;
    for n in 0..30 {
        assert_eq!(send(&host, &format!("c{n}"), n % 3).await.status, 201);
    }
    eventually("the view has all events", async || {
        let answer = host.get("/views/seen").await;
        anyhow::ensure!(answer.at("/position").parse::<u64>()? >= 30, "{answer}");
        Ok(())
    })
    .await;
    goes_back(&house, "seen").await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    refused(&house, &["activate", "seen@2"], "smoke: breaks on").await;
    host.stop().await;
}

/// A host that starts after the switch had no version before, so what broke became dead letters.
#[tokio::test]
async fn a_host_that_starts_again_has_the_version_on_trial_still() {
    let house = house_with_a_broken_version().await;
    let host = house.host().await;
    done(&house, &["activate", "hostile@2"]).await;
    host.kill().await;
    let host = house.host().await;
    for n in 0..10 {
        let answer = send(&host, &format!("c{n}"), n % 3).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    goes_back(&house, "hostile").await;
    let streams = house.streams().await;
    assert_eq!(streams.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    // It starts with what it went back to, and nothing is on trial.
    host.stop().await;
    let host = house.host().await;
    assert_eq!(send(&host, "last", 1).await.status, 200);
    host.stop().await;
}
