//! The measurements of `bench-inside` within Pelton's own crates.

use anyhow::{Context, ensure};
use pelton_tests::place;
use serde_json::Value;
use tokio::process::Command;

use crate::ledger::{self, lay_ready};
use crate::servers::{Servers, Setup};
use crate::side::beside;

/// The number of events of an account that is loaded.
const EVENTS: usize = 20;

/// Calls into plugins: lists of figures by kind of plugin and by call.
pub(crate) async fn calls() -> anyhow::Result<Value> {
    run(&["calls"], &[]).await
}

/// Microseconds of a command in Pelton's own code, the sandbox included, with this many live entities.
pub(crate) async fn own_code(entities: usize, commands: usize) -> anyhow::Result<f64> {
    let took = run(&["commands"], &[entities.to_string(), commands.to_string()]).await?;
    took.as_f64().context("it is not a number")
}

/// The times of loads of accounts with twenty events each, in milliseconds. The accounts take turns in the stream, so
/// that the events of one account lie as far apart as possible.
pub(crate) async fn cold_loads(accounts: usize, loads: usize) -> anyhow::Result<Vec<f64>> {
    let servers = Servers::start(Setup::File).await?;
    let client = servers.connect().await?;
    let events = (0..EVENTS).flat_map(|nth| {
        (0..accounts).map(move |account| {
            let earlier: Vec<u64> = (0..nth).map(|nth| (nth * accounts + account + 1) as u64).collect();
            ledger::event(account, nth, &earlier)
        })
    });
    lay_ready(&client, events).await?;
    let arguments = [servers.urls().join(","), accounts.to_string(), loads.to_string()];
    figures(&run(&["cold-load"], &arguments).await?["cold_load"])
}

/// A list of numbers.
pub(crate) fn figures(value: &Value) -> anyhow::Result<Vec<f64>> {
    let list = value.as_array().with_context(|| format!("{value} is not a list of figures"))?;
    list.iter().map(|figure| figure.as_f64().context("a figure is not a number")).collect()
}

async fn run(what: &[&str], arguments: &[String]) -> anyhow::Result<Value> {
    let mut command = Command::new(beside("bench-inside")?);
    command.args(what).arg(place::plugins()?).args(arguments).kill_on_drop(true);
    let output = command.output().await.context("starting bench-inside")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim_end());
    serde_json::from_slice(&output.stdout).context("bench-inside does not print JSON")
}
