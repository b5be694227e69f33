//! `pelton new` and `pelton build`: a folder of one's own, built, tested and run in an empty place.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use pelton_tests::http::{Http, Request};
use pelton_tests::place;
use pelton_tests::process::Pelton;
use tokio::process::Command;
use tokio::time::timeout;

/// Long enough to compile the SDK natively and for WebAssembly on a busy machine.
const BUILD: Duration = Duration::from_secs(840);

/// Runs a program that builds. What is compiled for these tests is compiled once.
async fn run(folder: &Path, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command.env("CARGO_TARGET_DIR", place::root().join("target/new")).env("NO_COLOR", "1");
    command.env("PELTON_TOOLS", place::root().join("target/tools"));
    for setting in ["PELTON_CONFIG", "PELTON_LOG", "PELTON_SDK"] {
        command.env_remove(setting);
    }
    timeout(BUILD, command.output()).await.expect("it ends").expect("it starts")
}

/// Runs it and expects that it works. Returns what it printed.
async fn works(folder: &Path, program: &Path, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_new_folder_builds_passes_its_tests_and_answers() {
    let empty = tempfile::tempdir().expect("a folder");
    let (pelton, cargo) = (place::pelton().expect("pelton"), Path::new("cargo"));
    let sdk = place::root().display().to_string();
    works(empty.path(), &pelton, &["new", "to-do", "--with", "projection,saga", "--sdk", &sdk]).await;
    let folder = empty.path().join("to-do");
    // The versions that this repository was tested with.
    fs::copy(place::root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");

    let tested = works(&folder, cargo, &["test"]).await;
    assert!(tested.contains("a_task_is_added_once ... ok"), "{tested}");
    assert!(tested.contains("a_follow_up_is_added_when_its_task_is_finished ... ok"), "{tested}");
    // A mistake, as people make them: short ids of tasks have no third letter.
    let source = folder.join("plugins/tasks/src/lib.rs");
    let text = fs::read_to_string(&source).expect("the handler");
    let decide = "        match (command, self) {";
    assert_eq!(text.matches(decide).count(), 1, "{text}");
    let mistake = "        if let Command::AddTask { task, .. } = &command {\n            \
                   assert_ne!(task.as_bytes()[2], b' ');\n        }\n";
    let line = text.lines().position(|line| line == decide).expect("the line") + 2;
    fs::write(&source, text.replace(decide, &format!("{mistake}{decide}"))).expect("the handler");
    works(&folder, &pelton, &["build"]).await;
    let checked = works(&folder, &pelton, &["check"]).await;
    assert!(checked.contains("tasks: to-do-tasks 0.1.0, command-handler"), "{checked}");
    for cases in ["view", "follow-ups"] {
        let (component, cases) = (format!("target/plugins/{cases}.wasm"), format!("plugins/{cases}/cases"));
        works(&folder, &pelton, &["test", &component, &cases, "--strict"]).await;
    }
    // The suite names the mistake that the crate's own tests do not meet.
    let test = ["test", "target/plugins/tasks.wasm", "plugins/tasks/cases", "--strict"];
    let tested = run(&folder, &pelton, &test).await;
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert_eq!(tested.status.code(), Some(1), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("FAIL CH-13 decide-hostile: add-task") && first.contains("src/lib.rs"),
        "{said}"
    );

    let host = Pelton::start(&folder, ["dev", "--listen", "127.0.0.1:0"]).expect("pelton starts");
    let http = Http::new(&host.address().await.expect("an address")).expect("a client");
    http.ready().await.expect("a host that is ready");
    let add = r#"{"data":{"task":"tea","title":"Make tea","then":"Wash the cup"}}"#;
    let added = http.send(&Request::put("/add-task", add)).await.expect("an answer");
    assert_eq!(added.status, 201, "{added}");
    let again = http.send(&Request::put("/add-task", add)).await.expect("an answer");
    assert_eq!((again.status, again.at("/code").as_str()), (409, "already-added"), "{again}");
    let finish = r#"{"data":{"task":"tea"}}"#;
    let finished = http.send(&Request::put("/finish-task", finish)).await.expect("an answer");
    assert_eq!(finished.status, 201, "{finished}");
    // The saga adds the follow-up, and the projection shows it.
    let view = Request::get("/views/open-tasks/tea-then");
    let shown = http.until(&view, |answer| answer.status == 200).await.expect("the follow-up");
    assert_eq!(shown.at("/title"), "Wash the cup", "{shown}");

    // N11: what the plugin said last is the cause.
    let short = Request::put("/add-task", r#"{"id":"c1","data":{"task":"ab","title":"Abs"}}"#);
    let failed = http.send(&short.with("Prefer", "wait=60")).await.expect("an answer");
    assert_eq!((failed.status, failed.at("/code").as_str()), (500, "command-failed"), "{failed}");
    let panicked = format!("panicked at plugins/tasks/src/lib.rs:{line}:");
    let listed = works(&folder, &pelton, &["dlq", "list"]).await;
    let row = listed.lines().last().expect("a row");
    let cause = "index out of bounds: the len is 2 but the index is 2";
    assert!(row.contains(&format!("plugin tasks: {panicked}")) && row.contains(cause), "{listed}");
    let ended = host.stop().await.expect("it stops");
    let count = |part: &str| ended.stderr.lines().filter(|line| line.contains(part)).count();
    assert_eq!((count("guest backtrace"), count("set aside: ")), (1, 1), "{}", ended.stderr);
    assert!(count("will be tried again: plugin tasks (sha256:") > 1, "{}", ended.stderr);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn what_cannot_be_built_is_said_with_what_to_do() {
    let empty = tempfile::tempdir().expect("a folder");
    let pelton = place::pelton().expect("pelton");
    for (config, part) in [
        ("[plugins]\n", "no plugin in pelton.toml names its crate; add crate ="),
        ("[plugins.a]\ncomponent = \"a.wasm\"\ncrate = \"nowhere\"\n", "nowhere has no Cargo.toml"),
        ("[plugins.a]\ncrate = \"a\"\n", "[plugins.a] has no `component`"),
    ] {
        fs::write(empty.path().join("pelton.toml"), config).expect("a configuration");
        let output = run(empty.path(), &pelton, &["build"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    let output = run(empty.path(), &pelton, &["new", "x", "--sdk", "."]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("there is no crate pelton-plugin") && !empty.path().join("x").exists(), "{said}");
}
