//! A hotel to test: a nats-server of its own, a configuration, and any number of hosts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pelton_nats::Server;
use pelton_nats::server::Options;
use pelton_tests::http::{Answer, Http, Request};
use pelton_tests::process::{Ended, Pelton};
use pelton_tests::streams::{Stored, Streams};
use pelton_tests::{PATIENCE, PAUSE, hotel, place};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::fold;

/// The stream that holds the hotel's events.
pub(crate) const EVENTS: &str = "hotel";

/// The stream of the hotel's saga.
pub(crate) const SAGA: &str = "SAGA-housekeeping";
/// How far the saga has read.
pub(crate) const POSITION: &str = "saga.housekeeping.position";
/// What the subjects of its own inputs begin with.
const INPUTS: &str = "saga.housekeeping.input.";
/// The events that it reads.
const READ: [&str; 6] = [
    "room-booked",
    "booking-paid",
    "booking-released",
    "room-cleaned",
    "room-made-available",
    "guest-checked-in",
];

pub(crate) struct House {
    pub(crate) nats: Server,
    folder: TempDir,
    /// The configuration of an example, from the root of the repository.
    example: &'static str,
}

impl House {
    /// A server and a configuration for it. The server forgets message ids after a second, and redelivers a message
    /// after two seconds without a report of progress.
    pub(crate) async fn open() -> Self {
        Self::open_with(hotel::example().config).await
    }

    /// The same with another example.
    pub(crate) async fn open_with(example: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { binary: place::nats_server(), ..Options::new(folder.path().join("nats")) };
        let nats = Server::start(options).await.expect("nats-server starts");
        let house = Self { nats, folder, example };
        house.configure(|text| text);
        house
    }

    /// Writes the configuration with a change.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let original = fs::read_to_string(place::root().join(self.example)).expect("the example");
        let plugins = place::plugins().expect("the components");
        let ours = [
            ("nats", format!("url = {}\nduplicate-window = \"1s\"", json!(self.nats.url()))),
            ("commands", "ack-wait = \"2s\"".to_owned()),
            ("wasm", format!("compiled-code = {}", json!(concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled")))),
        ];
        let ours = ours.map(|(table, lines)| format!("[{table}]\n{lines}\n")).concat();
        let text = original.replace("../../target/plugins", &plugins.display().to_string());
        fs::write(self.config(), change(format!("{ours}{text}"))).expect("a configuration");
    }

    /// Restores a backup on a fresh server: a copy of the store directory while the server is down, which needs no tool. No host
    /// may run. The configuration is to be written anew.
    pub(crate) async fn restore_on_a_fresh_server(&mut self) {
        self.nats.stop().await.expect("the server stops");
        let restored = self.folder.path().join("restored");
        copy(&self.folder.path().join("nats/data"), &restored.join("data")).expect("a copy");
        let options = Options { binary: place::nats_server(), ..Options::new(restored) };
        self.nats = Server::start(options).await.expect("nats-server starts on the copy");
    }

    /// Keeps a copy of a stream as it is now. No host may run.
    pub(crate) async fn keep_copy(&mut self, stream: &str) {
        let [stored, kept] = self.files_of(stream);
        self.nats.stop().await.expect("the server stops");
        copy(&stored, &kept).expect("a copy");
        self.nats.restart().await.expect("the server starts");
    }

    /// Restores that copy of a stream, and no other stream. No host may run.
    pub(crate) async fn restore_copy(&mut self, stream: &str) {
        let [stored, kept] = self.files_of(stream);
        self.nats.stop().await.expect("the server stops");
        fs::remove_dir_all(&stored).expect("its files");
        copy(&kept, &stored).expect("a copy");
        self.nats.restart().await.expect("the server starts");
    }

    /// The files of a stream, and of its copy.
    fn files_of(&self, stream: &str) -> [PathBuf; 2] {
        let streams = self.folder.path().join("nats/data/jetstream/$G/streams");
        [streams.join(stream), self.folder.path().join("copies").join(stream)]
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("pelton.toml")
    }

    /// Starts `pelton run` and does not wait for anything.
    pub(crate) fn run(&self) -> Pelton {
        self.run_with([])
    }

    /// The same with more arguments.
    pub(crate) fn run_with<const N: usize>(&self, more: [&str; N]) -> Pelton {
        let arguments = ["run", "--listen", "127.0.0.1:0", "--log-format", "json"];
        Pelton::start(self.folder.path(), arguments.into_iter().chain(more)).expect("pelton starts")
    }

    /// Starts `pelton dev` with its own server and a store of this name, and does not wait for anything.
    pub(crate) fn dev(&self, store: &str) -> Pelton {
        let arguments = ["dev", "--listen", "127.0.0.1:0", "--log-format", "json", "--store", store];
        Pelton::start(self.folder.path(), arguments).expect("pelton starts")
    }

    /// A host that is ready.
    pub(crate) async fn host(&self) -> Host {
        Host::ready(self.run()).await
    }

    pub(crate) async fn streams(&self) -> Streams {
        Streams::at(&self.nats.url()).await.expect("the server")
    }

    /// The hotel's events.
    pub(crate) async fn events(&self) -> Vec<Stored> {
        self.streams().await.events(EVENTS).await.expect("the events")
    }

    /// Waits until all work is done: no command waits, and the saga has seen every event.
    pub(crate) async fn settle(&self) {
        let streams = self.streams().await;
        eventually("nothing is left to do", async || {
            let commands = streams.commands_waiting().await?;
            anyhow::ensure!(commands == 0, "{commands} commands wait");
            let own = streams.read(SAGA).await?;
            let events = streams.events(EVENTS).await?;
            let is_read = |stored: &&Stored| READ.contains(&stored.header("ce-type"));
            let event = events.iter().rfind(is_read).map_or(0, |stored| stored.sequence);
            let input = own.iter().rfind(|stored| stored.subject.starts_with(INPUTS));
            let input = input.map_or(0, |stored| stored.sequence);
            // Last, because it is replaced all the time.
            let position = streams.last(SAGA, POSITION).await?.data();
            let handled = |stream: &str| position["handled"][stream].as_u64().unwrap_or_default();
            anyhow::ensure!(
                handled(EVENTS) >= event && handled(SAGA) >= input,
                "{position}: {event}, {input}"
            );
            Ok(())
        })
        .await;
    }

    /// Checks that nothing happened twice: the hotel has each event once for one room and day, and the same commands
    /// have the same ids. Returns the number of events of each type.
    pub(crate) async fn each_once(&self) -> std::collections::BTreeMap<String, usize> {
        let mut counts = std::collections::BTreeMap::new();
        let (mut subjects, mut ids) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for event in self.events().await {
            assert!(subjects.insert(event.subject.clone()), "twice: {}", event.subject);
            assert!(ids.insert(event.header("ce-id").to_owned()), "twice: {}", event.header("ce-id"));
            *counts.entry(event.header("ce-type").to_owned()).or_default() += 1;
        }
        counts
    }

    /// Waits until the views are the fold of the events.
    pub(crate) async fn views_equal_the_fold(&self, host: &Host) {
        let events = self.events().await;
        for (view, expected) in
            [("bookings", fold::bookings(&events)), ("cleaning-schedule", fold::schedule(&events))]
        {
            eventually("the view is the fold of the events", async || {
                let found = fold::rows(&host.get(&format!("/views/{view}?limit=1000")).await.json());
                anyhow::ensure!(found == expected, "{view} has {found:#?}\nexpected {expected:#?}");
                Ok(())
            })
            .await;
        }
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// A running host.
pub(crate) struct Host {
    pub(crate) pelton: Pelton,
    pub(crate) http: Http,
    pub(crate) address: String,
}

impl Host {
    pub(crate) async fn ready(pelton: Pelton) -> Self {
        let address = pelton.address().await.expect("an address");
        let http = Http::new(&address).expect("a client");
        http.ready().await.with_context(|| pelton.last_lines()).expect("a host that is ready");
        Self { pelton, http, address }
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        self.http.send(request).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&Request::get(path)).await
    }

    /// Stops the host cleanly.
    pub(crate) async fn stop(self) -> Ended {
        let ended = self.pelton.stop().await.expect("an end");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended
    }

    /// Ends the host as a crash would.
    pub(crate) async fn kill(self) {
        let ended = self.pelton.kill().await.expect("an end");
        assert_eq!(ended.code, None, "{}", ended.stderr);
    }
}

/// Tries until it succeeds. The last error tells why it never did.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> anyhow::Result<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}: {error:#}"),
        }
        sleep(PAUSE).await;
    }
}

/// A booking of a room on the day of the tests.
pub(crate) fn book(id: &str, room: usize, client: usize) -> Request {
    let data = json!({ "room": { "id": room }, "client": { "id": client }, "date": "2022-12-12" });
    command("/mutation/book-room", id, &data)
}

pub(crate) fn check_in(id: &str, room: usize, client: usize) -> Request {
    Request { path: "/mutation/checkin".to_owned(), ..book(id, room, client) }
}

pub(crate) fn cleanup(id: &str, room: usize) -> Request {
    command("/mutation/cleanup", id, &json!({ "room": { "id": room }, "date": "2022-12-12" }))
}

fn command(path: &str, id: &str, data: &serde_json::Value) -> Request {
    Request::put(path, json!({ "id": id, "data": data }).to_string())
}
