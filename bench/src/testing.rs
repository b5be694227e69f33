//! `pelton test` and `pelton record`, as somebody who writes a plugin waits for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pelton_tests::place;
use pelton_tests::process::Pelton;
use serde_json::json;
use tempfile::TempDir;

use crate::ledger::{Kind, Teller, converse};
use crate::servers::{Servers, Setup};
use crate::side::{Side, Work, compiled_code};

/// The hotel's plugins, by the folder with their cases.
const HOTEL: [&str; 5] = ["booking", "cleaning", "housekeeping", "booking-view", "cleaning-schedule"];
/// The number of clients that send the commands that are recorded.
const CLIENTS: usize = 256;

/// The time of the whole suite of all plugins of the hotel, one after the other. Compiled code is there.
pub(crate) async fn hotel() -> anyhow::Result<Duration> {
    let mut took = Duration::ZERO;
    for plugin in HOTEL {
        took += suite(&format!("hotel-{plugin}"), plugin, &["--strict"]).await?;
    }
    Ok(took)
}

/// The time of the whole suite of the hotel's booking in JavaScript. Compiled code is there.
pub(crate) async fn javascript() -> anyhow::Result<Duration> {
    suite("hotel-booking-js", "booking", &["--tier", "deterministic"]).await
}

async fn suite(component: &str, cases: &str, more: &[&str]) -> anyhow::Result<Duration> {
    let folder = TempDir::new()?;
    let component = copied(component, folder.path())?;
    let cases = place::root().join("plugins/hotel").join(cases).join("cases");
    let test = |more: &[&str]| {
        let mut arguments = testing(&component);
        arguments.push(cases.display().to_string());
        arguments.extend(more.iter().map(|more| (*more).to_owned()));
        arguments
    };
    // This compiles the component, if that is still to be done.
    ended(folder.path(), test(&[more, &["--rule", "AL-01"]].concat())).await?;
    ended(folder.path(), test(more)).await
}

/// The time to record a stream, and to replay its recording on the plugin that has decided it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) record: Duration,
    pub(crate) replay: Duration,
}

/// Has Pelton decide so many commands, of an event each, and records and replays them.
pub(crate) async fn recorded(commands: usize, accounts: usize) -> anyhow::Result<Recorded> {
    let servers = Servers::start(Setup::File).await?;
    let process = Side::Pelton.start(Work::Commands(Setup::File), &servers).await?;
    let client = servers.connect().await?;
    let all = Teller::new(accounts, 1).any_account(Kind::One, commands);
    converse(&client, CLIENTS, all).await?;
    process.end().await?;
    let folder = servers.folder();
    let to = ["record", "ledger", "--nats", &servers.urls().join(","), "--out", "recording"];
    let record = ended(folder, to.map(str::to_owned).to_vec()).await?;
    let mut replay = testing(&copied("bench-ledger", folder)?);
    replay.extend(["--rule", "AL-01", "--replay", "recording"].map(str::to_owned));
    Ok(Recorded { record, replay: ended(folder, replay).await? })
}

/// The time from the moment when a case is saved until `--watch` says what came of it, with `--quick`. The case fails, so that
/// its name is said.
pub(crate) async fn watch() -> anyhow::Result<Duration> {
    let folder = TempDir::new()?;
    let component = copied("hotel-booking", folder.path())?;
    let save = |case: &str| {
        let case =
            format!("[[case]]\nname = \"{case}\"\nwhen = {{ command = \"check-in\" }}\nthen.events = []\n");
        fs::write(folder.path().join("case.toml"), case)
    };
    save("the first look")?;
    let mut arguments = testing(&component);
    arguments.extend(["case.toml", "--quick", "--watch"].map(str::to_owned));
    let pelton = Pelton::start(folder.path(), arguments)?;
    pelton.says("waiting for a change").await?;
    let began = Instant::now();
    save("the second look")?;
    pelton.says("the second look").await?;
    let took = began.elapsed();
    pelton.kill().await?;
    Ok(took)
}

/// A component of its own, because the verdict is kept beside it.
fn copied(component: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let from = place::plugins()?.join(component).with_extension("wasm");
    let to = folder.join(component).with_extension("wasm");
    fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    Ok(to)
}

/// `pelton test` of a component, with compiled code kept.
fn testing(component: &Path) -> Vec<String> {
    let (component, compiled) = (component.display().to_string(), compiled_code().display().to_string());
    [
        "test".to_owned(),
        component,
        "--seed".to_owned(),
        "7".to_owned(),
        "--compiled-code".to_owned(),
        compiled,
    ]
    .into()
}

/// The time of a command, which has to succeed.
async fn ended(folder: &Path, arguments: Vec<String>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let ended = Pelton::start(folder, &arguments)?.ended().await?;
    let took = began.elapsed();
    ensure!(
        ended.code == Some(0),
        "pelton {} ended with {:?}: {}{}",
        json!(arguments),
        ended.code,
        ended.stdout,
        ended.stderr
    );
    Ok(took)
}
