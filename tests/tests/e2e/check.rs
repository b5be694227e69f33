//! A wrong configuration or component is refused by `pelton check`, and in the same words at the start.

use std::path::Path;

use pelton_tests::place;
use pelton_tests::process::{Ended, Pelton};
use tempfile::TempDir;

/// The commands that read a configuration. None of them reaches a server here.
const COMMANDS: [&str; 3] = ["check", "run", "dev"];

async fn pelton(folder: &Path, command: &str) -> Ended {
    let pelton = Pelton::start(folder, [command]).expect("pelton starts");
    pelton.ended().await.expect("an end")
}

/// A folder with a configuration for one handler, and its component.
fn folder(component: &[u8], change: (&str, &str)) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"[streams.shop]
subjects = ["order.>"]

[plugins.order]
component = "order.wasm"

[handlers.order]
plugin = "order"
stream = "shop"
entity = "order.{id}"
commands.pay = { id = "/order/id" }
"#;
    assert!(text.contains(change.0), "{:?} is not in the configuration", change.0);
    std::fs::write(folder.path().join("pelton.toml"), text.replacen(change.0, change.1, 1)).expect("a file");
    std::fs::write(folder.path().join("order.wasm"), component).expect("a file");
    folder
}

/// Checks that all commands refuse it, with exit code 3 and all of these texts.
async fn refused(folder: &TempDir, parts: &[&str]) {
    for command in COMMANDS {
        let ended = pelton(folder.path(), command).await;
        assert_eq!(ended.code, Some(3), "{command}: {}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{command}: {part:?} is not in:\n{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn the_hotel_is_sound() {
    let house = crate::house::House::open().await;
    let config = house.config();
    let ended = pelton(config.parent().expect("a folder"), "check").await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in ["booking.{room}.{day} on hotel", "imports pelton:plugin/log@0.1.0", "saga", "sha256:"] {
        assert!(ended.stdout.contains(part), "{part:?} is not in:\n{}", ended.stdout);
    }
    // Nothing was started, so the server has no objects.
    let streams = house.streams().await;
    assert!(streams.info("COMMANDS").await.is_err());
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_and_an_import_is_named() {
    let core_module = "(module)";
    let other_world = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $exported (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exported)))"#;
    let importing = |import: &str| {
        format!(
            r#"(component
            (import "{import}" (instance (export "get" (func))))
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func $run (canon lift (core func $i "run")))
            (instance $exported (export "describe" (func $run)))
            (export "pelton:plugin/command-handler@0.1.0" (instance $exported)))"#
        )
    };
    let [files, sockets] = ["wasi:filesystem/preopens@0.2.0", "wasi:sockets/network@0.2.0"];
    for (text, parts) in [
        (core_module.to_owned(), ["it is a core module", "pelton component"]),
        (other_world.to_owned(), ["it exports no role that this host runs", "wasi:cli/run@0.2.0"]),
        (importing(files), ["it imports what a plugin may not", files]),
        (importing(sockets), ["it imports what a plugin may not", sockets]),
    ] {
        let component = wat::parse_str(&text).expect("it is WebAssembly");
        let folder = folder(&component, ("", ""));
        refused(&folder, &["pelton.toml:5:13", "the plugin `order` cannot be used", parts[0], parts[1]])
            .await;
    }
    refused(&folder(b"neither", ("", "")), &["pelton.toml:5:13", "it is not a WebAssembly component"]).await;
}

#[tokio::test]
async fn a_broken_configuration_is_refused_at_its_place() {
    let component = std::fs::read(place::plugins().expect("the components").join("hotel-booking.wasm"));
    let component = component.expect("a component");
    let pay = "commands.pay = { id = \"/order/id\" }\n";
    let twice = format!(
        "{pay}\n[handlers.again]\nplugin = \"order\"\nstream = \"shop\"\nentity = \"again.{{id}}\"\n{pay}"
    );
    for (change, parts) in [
        (("[\"order.>\"]", "[\"order.>\""), &["pelton.toml:"] as &[&str]),
        (("[\"order.>\"]", "7"), &["pelton.toml:2:12", "subjects"]),
        (("stream = \"shop\"", "stream = \"shp\""), &["pelton.toml:9:10", "did you mean `shop`?"]),
        (("stream = \"shop\"", "strem = \"shop\""), &["pelton.toml:9:1", "did you mean `stream`?"]),
        (("plugin = \"order\"", "plugin = \"oder\""), &["pelton.toml:8:10", "did you mean `order`?"]),
        (("order.{id}", "order.{number}"), &["pelton.toml:11:10", "does not say where `{number}` is"]),
        ((pay, twice.as_str()), &["pelton.toml:17:", "pay"]),
    ] {
        refused(&folder(&component, change), parts).await;
    }
    let many = folder(&component, ("subjects = [\"order.>\"]\n", "subjects = 7\nsubjcts = 8\n"));
    refused(&many, &["pelton.toml:2:12", "pelton.toml:3:1", "mistakes"]).await;
}
