//! Tests what happens when the machine has no room for more entities. It runs in a process of its own, which it fills.

use std::path::{Path, PathBuf};

use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::plugin::FaultKind;
use pelton_wasm::{Limits, Plugins, Settings, max_instances_of_a_plugin};

#[tokio::test]
async fn that_there_is_room_for_no_more_entities_is_said_and_those_there_work_on() {
    let room = max_instances_of_a_plugin();
    if room > 20_000 {
        return; // this machine's limit was raised: filling it takes too long
    }
    let built = std::env::var_os("PELTON_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"), PathBuf::from);
    let path = built.join("hotel-booking.wasm");
    assert!(path.exists(), "{} is not there; run: make plugins", path.display());
    let plugins =
        Plugins::new(&Settings { memory_bytes: usize::MAX, ..Settings::default() }).expect("an engine");
    let loaded = plugins.load("booking", path, Limits::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let handler = loaded.handler().expect("a handler");
    let mut alive = Vec::new();
    let fault = loop {
        match handler.create("1", Isolation::Alone).await {
            Ok(entity) => alive.push(entity),
            Err(fault) => break fault,
        }
    };
    // One was made to describe the plugin, and is gone.
    assert_eq!((alive.len(), fault.kind), (room, FaultKind::NoRoom));
    assert!(fault.what.contains("vm.max_map_count"), "{fault}");
    alive[0].evolve(&[]).await.expect("works on");
    assert!(alive[0].snapshot().await.is_ok(), "works on");
    alive.pop();
    assert!(handler.create("1", Isolation::Alone).await.is_ok(), "there is room again");
}
