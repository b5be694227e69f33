//! The sides that are compared: Pelton's own binary, and the yardsticks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pelton_tests::place;
use serde_json::json;

use crate::process::Process;
use crate::servers::{Servers, Setup};

/// A side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The least work that decides commands, by hand.
    Bare,
    /// By hand, with everything that Pelton stores and sends.
    Same,
    /// Pelton.
    Pelton,
}

/// The work to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Decide commands.
    Commands(Setup),
    /// Decide commands with a plugin from the plugin store, which gives snapshots or not; only Pelton does this.
    FromStore { snapshots: bool },
    /// Keep the view of accounts.
    View,
    /// Give a bonus for deposits, as a saga.
    Saga,
    /// Decide commands and keep the view; only Pelton does this.
    All,
}

impl Side {
    /// Starts the side on these servers and waits until it is ready.
    pub(crate) async fn start(self, work: Work, servers: &Servers) -> anyhow::Result<Process> {
        let folder = servers.folder();
        let urls = servers.urls().join(",");
        let yardstick =
            |what: &'static str| [what.to_owned(), urls.clone(), servers.replicas().to_string()].into_iter();
        match (self, work) {
            (Self::Pelton, _) => {
                configure(folder, work, servers, &compiled_code())?;
                host(folder, &["--nats", &urls]).await
            }
            (_, Work::View) => Process::start(&beside("yardstick")?, yardstick("view"), folder).await,
            (_, Work::Saga) => Process::start(&beside("yardstick")?, yardstick("saga"), folder).await,
            (Self::Bare | Self::Same, _) => {
                // By hand nobody sees to it that one host at a time gets the commands.
                servers.open_to_all().await?;
                let side = if self == Self::Bare { "bare" } else { "same" };
                Process::start(&beside("yardstick")?, yardstick(side), folder).await
            }
        }
    }
}

/// Starts Pelton on the configuration in a folder.
pub(crate) async fn host(folder: &Path, arguments: &[&str]) -> anyhow::Result<Process> {
    let always = ["run", "--listen", "127.0.0.1:0"];
    Process::start(&place::pelton()?, always.iter().chain(arguments), folder).await
}

/// A program that was built with this one.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let program = own.with_file_name(name);
    anyhow::ensure!(program.is_file(), "{} is not built; run `make bench`", program.display());
    Ok(program)
}

/// The folder of compiled code between the starts of a run, so that no side waits for a compiler.
pub(crate) fn compiled_code() -> PathBuf {
    place::root().join("target/bench/compiled")
}

/// Writes Pelton's configuration into a folder. Compiled code is kept in `compiled`.
pub(crate) fn configure(
    folder: &Path,
    work: Work,
    servers: &Servers,
    compiled: &Path,
) -> anyhow::Result<PathBuf> {
    let file = folder.join("pelton.toml");
    fs::write(&file, config(work, servers, compiled)?)?;
    Ok(file)
}

/// The configuration of a side. Other settings keep Pelton's defaults.
fn config(work: Work, servers: &Servers, compiled: &Path) -> anyhow::Result<String> {
    let plugins = place::plugins()?;
    let component = |name: &str| json!(plugins.join(name).with_extension("wasm"));
    let source = match work {
        Work::FromStore { snapshots: true } => "source = \"store\", settings = { snapshots = \"yes\" }, ",
        Work::FromStore { snapshots: false } => "source = \"store\", ",
        _ => "",
    };
    let mut text = format!(
        "[nats]\nreplicas = {}\n[wasm]\ncompiled-code = {}\n[streams.ledger]\nsubjects = [\"ledger.>\"]\n[plugins]\n\
         ledger = {{ {source}component = {} }}\naccounts = {{ component = {} }}\nbonus = {{ component = {} }}\n",
        servers.replicas(),
        json!(compiled),
        component("bench-ledger"),
        component("bench-accounts"),
        component("bench-bonus"),
    );
    if work != Work::View {
        text += "[handlers.ledger]\nplugin = \"ledger\"\nstream = \"ledger\"\nentity = \"ledger.{account}\"\n\
                 [handlers.ledger.commands]\ndeposit = { account = \"/account\" }\n\
                 deposit-in-thirds = { account = \"/account\" }\n\
                 [[routes]]\npath = \"/deposit\"\ncommand = \"deposit\"\n";
    }
    if matches!(work, Work::View | Work::All) {
        text += "[projections.accounts]\nplugin = \"accounts\"\nstream = \"ledger\"\n";
    }
    if work == Work::Saga {
        text +=
            "[sagas.bonus]\nid = \"bonus\"\nplugin = \"bonus\"\nstream = \"ledger\"\nstart = \"beginning\"\n";
    }
    Ok(text)
}
