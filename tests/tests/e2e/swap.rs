//! `pelton dev` takes up a component when it is saved, while commands are decided.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton_tests::http::{Answer, Request};
use pelton_tests::streams::Streams;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::hostile::HANDLER;
use crate::hostile::guests::{handler, one_event};
use crate::house::{Host, House, eventually};

/// The number of times that another component is saved.
const SWAPS: usize = 6;

/// Puts it in its place at once, as `pelton build` does.
fn save(component: &[u8], at: &Path) {
    let beside = at.with_extension("new");
    std::fs::write(&beside, component).expect("a file");
    std::fs::rename(beside, at).expect("it is in its place");
}

async fn send(host: &Host, id: &str, order: usize) -> Answer {
    let body = json!({ "id": id, "data": { "order": { "id": order } } }).to_string();
    host.send(&Request::put("/do", body).with("Prefer", "wait=30")).await
}

#[tokio::test]
async fn a_component_that_is_saved_decides_from_then_on_and_no_command_fails() {
    let house = House::open().await;
    let place = house.config().with_file_name("hostile.wasm");
    // One accepts and changes nothing, the other says that it is done.
    let event = one_event(*b"done", 10);
    let versions = [handler(&[]), handler(&[("decide", event.as_str())])];
    save(&versions[0], &place);
    house.configure(|text| text + HANDLER);
    let host = Host::ready(house.dev("store")).await;
    let (sent, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let load = async {
        let mut statuses = Vec::new();
        while !stop.is_cancelled() {
            let n = sent.fetch_add(1, Ordering::Relaxed);
            let answer = send(&host, &format!("load-{n}"), n % 5).await;
            assert!([200, 201].contains(&answer.status), "{answer}");
            statuses.push(answer.status);
        }
        statuses
    };
    let swaps = async {
        for n in 1..=SWAPS {
            let (component, status) = if n % 2 == 0 { (&versions[0], 200) } else { (&versions[1], 201) };
            save(component, &place);
            let attempt = AtomicUsize::new(0);
            eventually("the saved component decides", async || {
                let attempt = attempt.fetch_add(1, Ordering::Relaxed);
                let answer = send(&host, &format!("swap-{n}-{attempt}"), 9).await;
                anyhow::ensure!(answer.status == status, "{answer}");
                Ok(())
            })
            .await;
        }
        // What is no plugin changes nothing, and is said.
        save(b"no component", &place);
        let said = host.pelton.says("swap    hostile goes on with the version that it has").await;
        said.expect("it says so");
        assert_eq!(send(&host, "still", 9).await.status, 200);
        stop.cancel();
    };
    let (statuses, ()) = tokio::join!(load, swaps);
    assert!(statuses.contains(&200) && statuses.contains(&201), "both have decided: {statuses:?}");
    assert_eq!(dead_letters(&host).await, 0);
    host.stop().await;
}

/// The number of dead letters on the server of this host.
async fn dead_letters(host: &Host) -> u64 {
    let url = host.pelton.nats_url().await.expect("a server");
    let streams = Streams::at(&url).await.expect("the server");
    streams.info("DEAD_LETTERS").await.expect("the stream").state.messages
}
