//! Pelton as a whole: the time from an HTTP request to its view, the memory, and the time of a start.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pelton_tests::http::{Http, Request};
use pelton_tests::place;
use serde_json::json;
use tempfile::TempDir;

use crate::ledger::{account, command, converse};
use crate::servers::{Servers, Setup};
use crate::side::{self, Side, Work};

/// The number of clients that book rooms at once while live entities are made.
const CLIENTS: usize = 16;

/// The times from a request until the view shows its effect.
pub(crate) async fn end_to_end(commands: usize) -> anyhow::Result<Vec<Duration>> {
    let servers = Servers::start(Setup::File).await?;
    let process = Side::Pelton.start(Work::All, &servers).await?;
    let http = Http::new(&process.address()?)?;
    let mut times = Vec::with_capacity(commands);
    for number in 0..commands {
        let account = account(number);
        let data = json!({ "data": { "account": account, "amount": 7, "note": "n".repeat(200) } });
        let put = Request::put("/deposit", data.to_string());
        let get = Request::get(format!("/views/accounts/{account}"));
        let began = Instant::now();
        let answer = http.send(&put).await?;
        ensure!(answer.status == 201, "a deposit is answered with {answer}");
        while http.send(&get).await?.status != 200 {}
        times.push(began.elapsed());
    }
    process.end().await?;
    Ok(times)
}

/// The memory of a host, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) idle_bytes: f64,
    pub(crate) live_entity_bytes: f64,
}

/// Measures the hotel's handler of bookings alone, idle, and with live entities: the difference between a few and many.
pub(crate) async fn memory(entities: usize) -> anyhow::Result<Memory> {
    let servers = Servers::empty(Setup::File).await?;
    let client = servers.connect().await?;
    let folder = hotel("only-booking", &side::compiled_code(), &BOOKING_ALONE)?;
    let process = side::host(folder.path(), &["--nats", &servers.urls().join(",")]).await?;
    let idle = process.resident_bytes()?;
    let book = |rooms: std::ops::Range<usize>| {
        let commands = rooms.map(|room| {
            let data = json!({ "room": { "id": room }, "client": { "id": 1 }, "date": "2026-01-01" });
            command("book-room", &format!("booking-{room:024}"), data.to_string())
        });
        converse(&client, CLIENTS, commands.collect())
    };
    let few = entities / 8;
    book(0..few).await?;
    let with_few = process.resident_bytes()?;
    book(few..entities).await?;
    let grown = process.resident_bytes()?.saturating_sub(with_few);
    process.end().await?;
    Ok(Memory { idle_bytes: idle as f64, live_entity_bytes: grown as f64 / (entities - few) as f64 })
}

/// The times of the hotel's start on a server that has its streams: without compiled code, and with it.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    pub(crate) first_compile: Vec<Duration>,
    pub(crate) cached: Vec<Duration>,
}

pub(crate) async fn starts(compiling: usize, cached: usize) -> anyhow::Result<Starts> {
    let servers = Servers::empty(Setup::File).await?;
    let urls = servers.urls().join(",");
    let mut starts = Starts::default();
    let start = async |folder: &Path| {
        let began = Instant::now();
        let process = side::host(folder, &["--nats", &urls]).await?;
        let took = began.elapsed();
        process.end().await?;
        anyhow::Ok(took)
    };
    let kept = TempDir::new_in(servers.folder())?;
    let code = kept.path().join("compiled");
    let folder = hotel("hotel", &code, &[])?;
    // The first start creates the streams.
    start(folder.path()).await?;
    for _ in 0..cached {
        starts.cached.push(start(folder.path()).await?);
    }
    for _ in 0..compiling {
        fs::remove_dir_all(&code)?;
        starts.first_compile.push(start(folder.path()).await?);
    }
    Ok(starts)
}

/// The sections of the hotel's configuration, by their beginning, that are left out so that only bookings are decided.
const BOOKING_ALONE: [&str; 4] = ["[handlers.cleaning", "[projections.", "[sagas.", "[[routes"];

/// The hotel's configuration in a folder of its own, without some of its sections.
fn hotel(name: &str, compiled: &Path, without: &[&str]) -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix(name).tempdir()?;
    let original = fs::read_to_string(place::root().join("plugins/hotel/pelton.toml"))?;
    let original = original.replace("../../target/plugins", &place::plugins()?.display().to_string());
    let mut config = format!("[wasm]\ncompiled-code = {}\n", json!(compiled));
    let mut kept = true;
    for line in original.lines() {
        if line.starts_with('[') {
            kept = !without.iter().any(|section| line.starts_with(section));
        }
        if kept {
            config += line;
            config.push('\n');
        }
    }
    fs::write(folder.path().join("pelton.toml"), config).context("writing a configuration")?;
    Ok(folder)
}
