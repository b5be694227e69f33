//! Components that load, and then decide what the contract forbids.

#[path = "../../../host/wasm/tests/it/guests.rs"]
#[allow(dead_code, reason = "the sandbox's tests use the rest")]
pub(crate) mod guests;

use pelton_tests::http::Request;
use pelton_tests::streams::Stored;
use serde_json::json;

use crate::house::{House, eventually};
use guests::{event_of, handler, one_event};

/// A handler for the plugin, beside those of the hotel.
pub(crate) const HANDLER: &str = r#"
[streams.shop]
subjects = ["order.>"]

[plugins.hostile]
component = "hostile.wasm"

[handlers.hostile]
plugin = "hostile"
stream = "shop"
entity = "order.{id}"
commands.do = { id = "/order/id" }

[[routes]]
path = "/do"
command = "do"
"#;

/// A rejection with as many details as are allowed, each of control characters, which JSON escapes.
const CONTROL_CHARACTERS: &str = r"(local $n i32) (local $entry i32)
    (memory.fill (i32.const 0x100000) (i32.const 1) (i32.const 4000))
    (loop $more
      (local.set $entry (i32.add (i32.const 0x200000) (i32.mul (local.get $n) (i32.const 16))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (i32.store (local.get $entry) (i32.const 0x100000))
      (i32.store offset=4 (local.get $entry) (local.get $n))
      (i32.store offset=8 (local.get $entry) (i32.const 0x100000))
      (i32.store offset=12 (local.get $entry) (i32.const 4000))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 64))))
    (i32.store (i32.const 2040) (i32.const 0x6f6e))
    (i32.store8 (i32.const 512) (i32.const 1))
    (i32.store (i32.const 516) (i32.const 2040)) (i32.store (i32.const 520) (i32.const 2))
    (i32.store (i32.const 532) (i32.const 0x200000)) (i32.store (i32.const 536) (i32.const 64))
    (i32.const 512)";

/// The command also ends if the server would not accept the plugin's answer, or a cause that quotes it.
#[tokio::test]
async fn what_the_contract_forbids_is_the_plugins_fault_and_nothing_is_stored() {
    // It lies behind the host's arguments, all zeros.
    let (long_at, long_bytes) = (1024 * 1024, 1_100_000);
    for (decide, cause) in [
        (one_event(*b"gone", 10), r#"type "gone" version 1, which its descriptor does not list"#),
        (event_of(long_at, long_bytes, 10), r#"type "\0\0\0"#),
        (CONTROL_CHARACTERS.to_owned(), "its rejection, as JSON, has 15"),
    ] {
        let house = House::open().await;
        let component = handler(&[("decide", decide.as_str()), ("pages", "64")]);
        std::fs::write(house.config().with_file_name("hostile.wasm"), component).expect("a component");
        house.configure(|text| text + HANDLER);
        let host = house.host().await;
        let body = json!({ "id": "c1", "data": { "order": { "id": 1 } } }).to_string();
        let answer = host.send(&Request::put("/do", body).with("Prefer", "wait=60")).await;
        assert_eq!((answer.status, answer.at("/code").as_str()), (500, "command-failed"), "{answer}");
        let ended = host.get("/commands/c1").await;
        assert_eq!(ended.at("/status"), "failed", "{ended}");
        assert!(ended.at("/cause").contains(cause), "{ended}");

        let streams = house.streams().await;
        assert_eq!(streams.events("shop").await.expect("the events").len(), 0);
        let dead_letters = eventually("the command is set aside", async || {
            let waiting = streams.commands_waiting().await?;
            anyhow::ensure!(waiting == 0, "{waiting} wait");
            streams.read("DEAD_LETTERS").await
        })
        .await;
        let [Stored { subject, headers, .. }] = &dead_letters[..] else { panic!("{dead_letters:#?}") };
        assert!(subject.starts_with("dead-letter.hostile.") && subject.ends_with(".c1"), "{subject}");
        let kept = headers.get("Pelton-Cause").expect("a cause").as_str().replace("%20", " ");
        assert!(kept.contains(cause), "{kept}");
        host.stop().await;
    }
}
