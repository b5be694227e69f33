//! Follows the instructions of the documents, block by block, with the real program and a real server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use pelton_tests::process::Pelton;
use pelton_tests::{PATIENCE, PAUSE, place};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::blocks::{self, Block};

/// Every document with instructions, as a test of its own.
macro_rules! documents {
    ($($name:ident: $file:literal,)*) => {
        $(#[tokio::test]
        async fn $name() {
            follow($file).await;
        })*

        #[test]
        fn every_document_is_followed() {
            let followed = [$($file),*];
            for file in blocks::files().iter().filter(|file| file.ends_with(".md")) {
                assert!(followed.contains(&file.as_str()), "{file} is not in the list of session.rs");
            }
        }
    };
}

documents! {
    readme: "README.md",
    architecture: "ARCHITECTURE.md",
    deploy: "docs/deploy/README.md",
    first_plugin: "docs/first-plugin.md",
    http: "docs/http.md",
    lab: "docs/lab.md",
    languages: "docs/languages.md",
    nats: "docs/nats.md",
    operating: "docs/operating.md",
    plugins: "docs/plugins.md",
    testing: "docs/testing.md",
    troubleshooting: "docs/troubleshooting.md",
}

/// The longest time of a script. A compiler may have to build everything.
const BUILD: std::time::Duration = std::time::Duration::from_secs(840);

/// The folder in which the blocks of one document run.
struct Session {
    folder: TempDir,
    hosts: Vec<Pelton>,
    /// The addresses in a document, and their counterparts here.
    addresses: BTreeMap<String, String>,
    nats: Option<String>,
}

async fn follow(file: &str) {
    let mut session = Session::new();
    let blocks = blocks::of(file);
    for (n, block) in blocks.iter().enumerate() {
        session.take(block, blocks.get(n + 1)).await;
    }
    for host in session.hosts {
        let ended = host.stop().await.expect("a host stops");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, hosts: Vec::new(), addresses: BTreeMap::new(), nats: None }
    }

    async fn take(&mut self, block: &Block, next: Option<&Block>) {
        let place = block.place();
        if let Some(path) = block.says("file") {
            let (world, path) = path.split_once('/').expect("a world and a path");
            let file = self.world(world).join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, &block.text).expect("a file");
        }
        if let Some(world) = block.says("start") {
            self.start(world, block).await;
        }
        if let Some(world) = block.says("run") {
            let folder = self.world(world);
            let deadline = Instant::now() + PATIENCE;
            loop {
                let output = self.script(&folder, &block.text).await;
                let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
                let (wanted, patient) = match next {
                    Some(next) if next.says("becomes").is_some() => (Some(next), true),
                    Some(next) if next.says("gives").is_some() => (Some(next), false),
                    _ => (None, false),
                };
                let wrong = if output.status.success() {
                    wanted.and_then(|wanted| difference(&stdout, &wanted.text))
                } else {
                    Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
                };
                let Some(wrong) = wrong else { break };
                let said: Vec<_> = self.hosts.iter().map(Pelton::last_lines).collect();
                let over = !patient || Instant::now() > deadline;
                assert!(!over, "{place}: {wrong}\n{}it printed:\n{stdout}\n{}", block.text, said.concat());
                sleep(PAUSE).await;
            }
        }
        if block.says("config").is_some() {
            let folder = self.world("config");
            let library = fs::read_to_string(folder.join("library.toml")).expect("the library");
            fs::write(folder.join("pelton.toml"), format!("{library}\n{}", block.text)).expect("a file");
            let output = self.script(&folder, "pelton check").await;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}: {said}");
        }
        if block.says("make").is_some() {
            for target in block.text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
                assert!(target.starts_with("make "), "{place}: {target:?} is no target");
                let dry = target.replacen("make", "make --dry-run --no-print-directory", 1);
                let output = self.script(&place::root(), &format!("{dry} >/dev/null")).await;
                assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    /// The folder of a world, created at its first use.
    fn world(&self, world: &str) -> PathBuf {
        let (name, inner) = world.split_once('/').unwrap_or((world, ""));
        let folder = self.folder.path().join(name);
        if !folder.exists() {
            fs::create_dir(&folder).expect("a folder");
            match name {
                "empty" => {}
                "library" => library(&folder, "pelton.toml"),
                "config" => library(&folder, "library.toml"),
                // The library, with a plugin from the plugin store.
                "store" => {
                    library(&folder, "pelton.toml");
                    let config = folder.join("pelton.toml");
                    let text = fs::read_to_string(&config).expect("the library");
                    let from_store = text.replace("books = { ", "books = { source = \"store\", ");
                    assert_ne!(from_store, text);
                    fs::write(config, from_store).expect("a configuration");
                }
                "languages" => other_languages(&folder),
                other => panic!("there is no world {other:?}"),
            }
        }
        let folder = folder.join(inner);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    async fn start(&mut self, world: &str, block: &Block) {
        let folder = self.world(world);
        let line = block.text.lines().next().unwrap_or_default().split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("pelton"), "{}: only pelton is started", block.place());
        let arguments = words.chain(["--listen", "127.0.0.1:0"]);
        let host = Pelton::start(&folder, arguments).expect("pelton starts");
        let address = host.address().await.unwrap_or_else(|error| panic!("{}: {error:#}", block.place()));
        pelton_tests::http::Http::new(&address)
            .expect("a client")
            .ready()
            .await
            .expect("a host that is ready");
        let config = fs::read_to_string(folder.join("pelton.toml")).expect("a configuration");
        let port =
            config.lines().find_map(|line| line.strip_prefix("listen = \"127.0.0.1:")?.strip_suffix('"'));
        let said = format!("localhost:{}", port.unwrap_or("3000"));
        self.addresses.insert(said, address);
        if line.starts_with("pelton dev") {
            self.nats = Some(host.nats_url().await.expect("a server"));
        }
        self.hosts.push(host);
    }

    async fn script(&self, folder: &Path, text: &str) -> Output {
        let mut text = text.to_owned();
        for (said, address) in &self.addresses {
            text = text.replace(said, address);
        }
        let pelton = place::pelton().expect("pelton");
        let tools = pelton.parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &text]).current_dir(folder).stdin(Stdio::null());
        let ours = place::root().join("target/tools");
        let javascript = ours.join("componentize-qjs/node_modules/.bin");
        let (python, c) = (ours.join("componentize-py"), ours.join("wit-bindgen/bin"));
        let path = format!(
            "{tools}:{path}:{}:{}:{}",
            javascript.display(),
            python.join("bin").display(),
            c.display()
        );
        let zig = ours.join("zig");
        command.env("PYTHONPATH", format!("{}:{}", python.display(), zig.display()));
        command.env("ZIG_GLOBAL_CACHE_DIR", zig.join("cache"));
        command.env("PATH", path).env("NO_COLOR", "1").kill_on_drop(true);
        // Compiled code is shared, so that the folders do not compile anew.
        command.env("CARGO_TARGET_DIR", place::root().join("target/docs")).env("PELTON", place::root());
        for setting in ["PELTON_CONFIG", "PELTON_NATS_URL", "PELTON_LISTEN", "PELTON_LOG"] {
            command.env_remove(setting);
        }
        command.envs(self.nats.iter().map(|url| ("PELTON_NATS_URL", url)));
        command.envs(place::nats_server().map(|server| (place::NATS_SERVER, server)));
        timeout(BUILD, command.output()).await.expect("a script ends").expect("bash runs")
    }
}

/// The sources of plugins in other languages, their cases, and the contract.
fn other_languages(folder: &Path) {
    for (parent, name) in [
        ("", "wit"),
        ("plugins/hotel", "booking-js"),
        ("plugins/hotel", "booking-python"),
        ("plugins/hotel", "booking"),
        ("plugins/library", "books-c"),
        ("plugins/library", "books"),
    ] {
        let source = place::root().join(parent).join(name);
        std::os::unix::fs::symlink(source, folder.join(name)).expect("a link");
    }
}

/// The components of the library and its configuration, with paths that hold in this folder.
fn library(folder: &Path, config: &str) {
    let plugins = place::plugins().expect("the components");
    let text = fs::read_to_string(place::root().join("plugins/library/pelton.toml")).expect("the library");
    let text = text.replace("../../target/plugins", &plugins.display().to_string());
    fs::write(folder.join(config), text).expect("a configuration");
}

/// The difference between the printed and the expected text, if any. JSON needs at least the expected members, text the
/// expected lines.
fn difference(printed: &str, wanted: &str) -> Option<String> {
    if let Ok(wanted) = serde_json::from_str::<Value>(wanted) {
        let found: Value =
            serde_json::from_str(printed.trim().lines().last().unwrap_or_default()).unwrap_or_default();
        return (!has(&found, &wanted)).then(|| format!("expected {wanted}, got {found}"));
    }
    let missing = wanted.lines().map(str::trim).find(|line| {
        let mut parts = line.split('…').map(str::trim);
        !line.is_empty()
            && !printed.lines().any(|printed| parts.clone().all(|part| printed.contains(part)))
            && parts.any(|part| !part.is_empty())
    });
    missing.map(|line| format!("no line is like {line:?}"))
}

/// Whether `found` has all that `wanted` has. The text `…` stands for anything.
fn has(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (_, Value::String(any)) if any == "…" => !found.is_null(),
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| found.get(name).is_some_and(|found| has(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| has(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

#[test]
fn what_is_printed_is_compared_with_what_the_document_says() {
    for (printed, wanted, fits) in [
        ("{\"a\":1,\"b\":[{\"c\":2}]}", "{\"b\": [{\"c\": \"…\"}]}", true),
        ("{\"a\":1,\"b\":[{\"c\":2}]}", "{\"b\": []}", false),
        ("first\nstream      library: book.>\n", "stream … book.>", true),
        ("first\n", "second", false),
        ("", "second", false),
    ] {
        assert_eq!(difference(printed, wanted).is_none(), fits, "{printed} {wanted}");
    }
}
