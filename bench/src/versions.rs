//! Equal versions of the ledger's plugin under different digests, and the `pelton plugin` that pushes and activates them.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use pelton_tests::component::with_section;
use pelton_tests::place;
use pelton_tests::process::inherit_no_settings;
use tokio::process::Command;

use crate::servers::{LEDGER, Servers};
use crate::side::{self, Work};

/// The longest time that `pelton plugin activate` waits for the host.
const WAIT: &str = "20s";

/// Where compiled code is kept, for the host and for the operator.
pub(crate) fn compiled(servers: &Servers) -> PathBuf {
    servers.folder().join("compiled")
}

/// Runs `pelton plugin` with a configuration of its own.
#[derive(Debug)]
pub(crate) struct Operator {
    folder: PathBuf,
    servers: String,
}

impl Operator {
    pub(crate) fn new(servers: &Servers, work: Work) -> anyhow::Result<Self> {
        let folder = servers.folder().join("operator");
        fs::create_dir_all(&folder)?;
        side::configure(&folder, work, servers, &compiled(servers))?;
        Ok(Self { folder, servers: servers.urls().join(",") })
    }

    /// Brings a version into the plugin store.
    pub(crate) async fn push(&self, version: usize) -> anyhow::Result<()> {
        let file = self.folder.join("version.wasm");
        fs::write(&file, component(version)?)?;
        let (file, version) = (file.display().to_string(), version.to_string());
        self.pelton(&["push", LEDGER, &file, "--version", &version]).await
    }

    /// Has so many hosts, at least, get ready for a version, and switches.
    pub(crate) async fn activate(&self, version: usize, hosts: usize) -> anyhow::Result<()> {
        let (version, hosts) = (format!("{LEDGER}@{version}"), hosts.to_string());
        self.pelton(&["activate", &version, "--min-ready", &hosts, "--wait", WAIT]).await
    }

    async fn pelton(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(place::pelton()?);
        inherit_no_settings(&mut command);
        command.arg("plugin").args(arguments).args(["--nats", &self.servers]);
        command.current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("starting pelton")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`pelton plugin {}`: {}", arguments.join(" "), said.trim_end());
        Ok(())
    }
}

/// The ledger's component under a digest of its own.
fn component(version: usize) -> anyhow::Result<Vec<u8>> {
    let component = fs::read(place::plugins()?.join("bench-ledger.wasm"))?;
    Ok(with_section(&component, &format!("version-{version}"), 0))
}
