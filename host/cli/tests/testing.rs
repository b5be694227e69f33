//! `pelton test` and `pelton can-i-activate`, as a command line sees them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with the library's books as they were built, and a file of cases.
fn folder(cases: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    put(&folder, "library-books", "books.wasm");
    fs::write(folder.path().join("books.toml"), cases).expect("cases");
    folder
}

/// Puts a component as it was built into the folder.
fn put(folder: &TempDir, built: &str, name: &str) {
    let all = std::env::var_os("PELTON_PLUGINS").map_or_else(|| root().join("target/plugins"), PathBuf::from);
    let component = fs::read(all.join(built).with_extension("wasm")).expect("run: make plugins");
    fs::write(folder.path().join(name), component).expect("a component");
}

fn pelton(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
    command.args(arguments).current_dir(folder.path()).env("NO_COLOR", "1");
    // One compilation serves all tests.
    let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    command.env("PELTON_COMPILED_CODE", compiled).env_remove("PELTON_LOG");
    command.output().expect("it starts")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

const RIGHT: &str = r#"# Kept.
entity = "emma"

[[case]]
name = "a book is lent"
when = { command = "lend-book", data = { book = "emma", reader = "ada" } }
then.events = [{ event = "book-lent", data = { book = "emma", reader = "ada" } }]

[[case]]
name = "a book that is lent comes back"
given = [{ event = "book-lent", data = { book = "emma", reader = "ada" } }]
when = { command = "return-book", data = { book = "emma" } }
then.events = [{ event = "book-returned" }] # whoever had it
"#;

#[test]
fn a_verdict_counts_for_what_it_was_made_of() {
    let folder = folder(RIGHT);
    let ask = || said(&pelton(&folder, &["can-i-activate", "books.wasm", "books.toml", "--quick"]));
    let (code, text) = ask();
    assert!(code == Some(1) && text.contains("there is no verdict"), "{text}");
    let (code, text) =
        said(&pelton(&folder, &["test", "books.wasm", "books.toml", "--quick", "--seed", "7"]));
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = ask();
    assert!(code == Some(0) && text.starts_with("yes: sha256:"), "{text}");
    let refuse = &["can-i-activate", "books.wasm", "books.toml", "--quick", "--not-tested", "refuse"];
    let (code, text) = said(&pelton(&folder, refuse));
    assert!(code == Some(1) && text.contains("not tested: CH-12, CH-02"), "no case asks for a book: {text}");
    let (code, text) =
        said(&pelton(&folder, &["can-i-activate", "books.wasm", "books.toml", "--quick", "--strict"]));
    assert!(code == Some(1) && text.contains("its verdict is of another effort"), "{text}");
    fs::write(folder.path().join("books.toml"), RIGHT.replace("# Kept.", "# Changed.")).expect("cases");
    let (code, text) = ask();
    assert!(code == Some(1) && text.contains("of another set of cases; test it again"), "{text}");
}

#[test]
fn reports_are_written_and_what_a_case_gave_can_be_taken_over() {
    let folder = folder(&RIGHT.replace("reader = \"ada\" } }]\n\n", "reader = \"bob\" } }]\n\n"));
    let mut arguments = vec!["test", "books.wasm", "books.toml", "--quick", "--seed", "7"];
    for report in ["json=r.json", "tap=r.tap", "junit=r.xml", "ctrf=r.ctrf", "markdown=r.md", "html=r.html"] {
        arguments.extend(["--report", report]);
    }
    let (code, text) = said(&pelton(&folder, &arguments));
    assert_eq!(code, Some(1), "{text}");
    let mistake = "FAIL case \"a book is lent\": /events/0/data/reader: expected \"bob\", got \"ada\"";
    assert_eq!(text.lines().next(), Some(mistake), "{text}");
    let report = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&report("r.json")).expect("JSON");
    assert_eq!((&json["passed"], &json["seed"]), (&false.into(), &7.into()));
    let ctrf: serde_json::Value = serde_json::from_str(&report("r.ctrf")).expect("JSON");
    assert_eq!(ctrf["results"]["summary"]["failed"], 1);
    for (name, expected) in [
        ("r.tap", "not ok 1 - a book is lent (books.toml)"),
        (
            "r.xml",
            "<failure message=\"/events/0/data/reader: expected &quot;bob&quot;, got &quot;ada&quot;\">",
        ),
        ("r.md", "| failed | a book is lent (books.toml) |"),
        ("r.html", "aria-label=\"pelton: failed\""),
    ] {
        assert!(report(name).contains(expected), "{name} has no {expected}:\n{}", report(name));
    }
    let (code, text) = said(&pelton(&folder, &["test", "books.wasm", "books.toml", "--quick", "--update"]));
    assert_eq!(code, Some(0), "{text}");
    let updated = report("books.toml");
    assert!(updated.starts_with("# Kept.\n") && updated.ends_with("# whoever had it\n"), "{updated}");
    let (code, text) = said(&pelton(&folder, &["test", "books.wasm", "books.toml", "--quick"]));
    assert_eq!(code, Some(0), "{text}\n{updated}");
}

#[test]
fn what_cannot_be_used_is_told_apart_from_what_fails() {
    let folder = folder("[[case]]\nnam = 1\n\n[[case]]\nname = \"x\"\nthen.evnts = []\n");
    let (code, text) = said(&pelton(&folder, &["test", "books.wasm", "books.toml", "--quick"]));
    assert_eq!(code, Some(3), "{text}");
    for expected in
        ["books.toml:1:1: a case has no `name`", "books.toml:2:1: a case has no key `nam`", "books.toml:6:6:"]
    {
        assert!(text.contains(expected), "{expected} is not said: {text}");
    }
    fs::write(folder.path().join("text.wasm"), "hello").expect("a file");
    fs::write(folder.path().join("module.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    for (component, expected) in [
        ("text.wasm", "hello"),
        ("module.wasm", "pelton component"),
        ("missing.wasm", "missing.wasm"),
        (".", "directory"),
    ] {
        let (code, text) = said(&pelton(&folder, &["test", component]));
        assert!(code == Some(3) && text.contains(expected), "{component}: {text}");
    }
    let (code, text) = said(&pelton(&folder, &["test", "books.wasm", "--rule", "CH-99"]));
    assert!(code == Some(2) && text.contains("there is no rule \"CH-99\""), "{text}");
}

/// The saga warns of every cleaning that is not done, and is asked thousands of times.
#[test]
fn what_a_plugin_logs_does_not_hide_the_report() {
    let cases = root().join("plugins/hotel/housekeeping/cases/housekeeping.toml");
    let folder = folder(&fs::read_to_string(cases).expect("cases"));
    put(&folder, "hotel-housekeeping", "saga.wasm");
    let test = ["test", "saga.wasm", "books.toml", "--quick", "--seed", "7"];
    let quiet = pelton(&folder, &test);
    let (code, text) = said(&quiet);
    assert!(code == Some(0) && quiet.stderr.is_empty(), "{text}");
    let told = pelton(&folder, &[&test[..], &["--log", "warn"]].concat());
    assert!(String::from_utf8_lossy(&told.stderr).contains("was set aside"), "asked for, it is told");
}
