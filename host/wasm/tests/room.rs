//! Tests what happens when the machine has no room for more entities. It runs in a process of its own, which it fills.

use std::path::{Path, PathBuf};

use pelton_core::command::ports::{EntityInstance, HandlerPlugin};
use pelton_wasm::{Limits, Plugins, Settings};

#[tokio::test]
async fn that_there_is_room_for_no_more_entities_is_said_and_those_there_work_on() {
    let room = Plugins::max_live_instances();
    if room > 20_000 {
        return; // this machine's limit was raised: filling it takes too long
    }
    let built = std::env::var_os("PELTON_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"), PathBuf::from);
    let path = built.join("hotel-booking.wasm");
    assert!(path.exists(), "{} is not there; run: make plugins", path.display());
    let plugins = Plugins::new(&Settings::default()).expect("an engine");
    let loaded = plugins.load("booking", path, Limits::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let handler = loaded.handler().expect("a handler");
    let mut alive = Vec::new();
    let fault = loop {
        match handler.create("1").await {
            Ok(entity) => alive.push(entity),
            Err(fault) => break fault,
        }
    };
    assert_eq!(alive.len(), room);
    assert!(fault.what.contains("vm.max_map_count"), "{fault}");
    alive[0].evolve(&[]).await.expect("works on");
    assert!(alive[0].snapshot().await.is_ok(), "works on");
    alive.pop();
    assert!(handler.create("1").await.is_ok(), "there is room again");
}
