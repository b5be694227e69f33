//! `pelton test --watch`: somebody who writes a plugin saves it, and sees what came of it.

use pelton_tests::process::Pelton;

use crate::hostile::guests::{handler, one_event};

const CASE: &str = "[[case]]\nname = \"it does\"\nwhen = { command = \"do\", data = {} }\nthen.events = [{ event = \"done\" }]\n";

#[tokio::test]
async fn a_component_or_a_case_that_is_saved_is_tested_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("a file");
    save("plugin.wasm", &handler(&[]));
    save("case.toml", CASE.as_bytes());
    let pelton = Pelton::start(folder.path(), ["test", "plugin.wasm", "case.toml", "--quick", "--watch"]);
    let pelton = pelton.expect("pelton starts");
    pelton.says("0 of 1 cases as expected").await.expect("the plugin does nothing");
    save("plugin.wasm", &handler(&[("decide", &one_event(*b"done", 10))]));
    pelton.says("1 of 1 cases as expected").await.expect("it was mended");
    save("case.toml", CASE.replace("done", "gone").as_bytes());
    pelton.says("expected \"gone\", got \"done\"").await.expect("the case has changed");
    save("case.toml", b"[[case]]\nnam = 1\n");
    pelton.says("case.toml:2").await.expect("a mistake in a case is told, and does not end it");
    pelton.kill().await.expect("it runs until it is stopped");
}
