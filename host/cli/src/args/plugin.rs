//! `pelton plugin`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use pelton_core::id::Name;

use super::common::{OperatorArgs, ServerArgs};
use crate::config::{check_name, duration};

/// `pelton plugin`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Push a component to the plugin store, without running it
    Push(PushArgs),
    /// List plugins, the version that each runs, and who switched it
    List(ListArgs),
    /// Show one plugin: its version, the version before, the hosts, and its components in the store
    Show(ShowArgs),
    /// Check a version, prepare it on all hosts, and switch them to it
    Activate(ActivateArgs),
    /// Switch all hosts back to the version before
    Rollback(RollbackArgs),
    /// Show who pushed, activated and rolled back which versions, and what the checks found
    History(ShowArgs),
    /// Remove components that no plugin runs and no rollback needs
    Gc(GcArgs),
    /// Show which commands, events and reads another version adds or drops
    DiffContract(DiffArgs),
}

/// `pelton plugin push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
    /// The component; without it, the one that the configuration names
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The name of this version; without it, the component's own version
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// `pelton plugin show`, `pelton plugin history`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
}

/// The wait of a switch for hosts.
#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// The number of hosts that must be ready; without it, all running hosts
    #[arg(long, value_name = "COUNT")]
    pub(crate) min_ready: Option<usize>,
    /// The longest wait for hosts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton plugin activate`
#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// The server. The settings of the plugin are taken from the configuration, and become part of the version.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin and a version of it: `booking` (the version that was pushed last), `booking@1.5.0`, or
    /// `booking@sha256:c01d` (any unique beginning of the digest)
    #[arg(value_name = "PLUGIN[@VERSION]", value_parser = reference)]
    pub(crate) plugin: Reference,
    /// The wait for hosts.
    #[command(flatten)]
    pub(crate) hosts: HostsArgs,
    /// Activate it although the version before cannot read what this one writes; there is no rollback then
    #[arg(long)]
    pub(crate) one_way: bool,
    /// Only check
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
    /// The longest wait for hosts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Only show which version would run again
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin gc`
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Only components of this plugin
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Option<Name>,
    /// Keep this many of each plugin's last pushed components, although no plugin runs them
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub(crate) keep: usize,
    /// Only show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin diff-contract`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin and the version to compare
    #[arg(value_name = "PLUGIN[@VERSION]", value_parser = reference)]
    pub(crate) plugin: Reference,
    /// The version to compare with; without it, the running one
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<String>,
}

/// A plugin and, optionally, one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) plugin: Name,
    /// A version, or the beginning of a digest.
    pub(crate) version: Option<String>,
}

fn name(text: &str) -> Result<Name, String> {
    check_name(text).map_err(|(_, wrong)| format!("it {wrong}"))?;
    Name::new(text).map_err(|error| format!("it {error}"))
}

fn reference(text: &str) -> Result<Reference, String> {
    let (plugin, version) = match text.split_once('@') {
        Some((_, "")) => return Err("there is no version behind the `@`".to_owned()),
        Some((plugin, version)) => (plugin, Some(version.to_owned())),
        None => (text, None),
    };
    Ok(Reference { plugin: name(plugin)?, version })
}
