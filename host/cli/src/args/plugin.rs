//! `pelton plugin`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use pelton_core::id::Name;

use super::common::ServerArgs;
use crate::config::{check_name, duration};

/// `pelton plugin`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Bring a component into the plugin store; nothing runs it yet
    Push(PushArgs),
    /// List plugins, what each runs, and who switched it
    List(ListArgs),
    /// Show one plugin: what it runs, what a rollback brings back, the hosts, and the components in the store
    Show(ShowArgs),
    /// Have hosts get ready for a version, check it, and have all of them run it
    Activate(ActivateArgs),
    /// Have all hosts run the version again that ran before
    Rollback(RollbackArgs),
    /// Show what was done to a plugin, by whom, and what the checks found
    History(ShowArgs),
    /// Remove components that nothing runs and no rollback needs
    Gc(GcArgs),
    /// Say what another version takes, writes and reads that the one before does not
    DiffContract(DiffArgs),
}

/// `pelton plugin push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
    /// The component; without it, the one that the configuration names
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What to call this version; without it, what the component calls it
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Who does it.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// Who does something.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// Who does it, for the audit stream; without it, the user and the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `pelton plugin list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// `pelton plugin show`, `pelton plugin history`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
}

/// How a switch waits for hosts.
#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// How many hosts have to be ready; without it, every host that runs
    #[arg(long, value_name = "COUNT")]
    pub(crate) min_ready: Option<usize>,
    /// How long to wait for hosts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton plugin activate`
#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// Which server. The settings of the plugin are taken from the configuration, and become part of the version.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin, and which version of it: `booking`, the last one that was pushed; `booking@1.5.0`; or
    /// `booking@sha256:c01d`, as many digits as tell it from others
    #[arg(value_name = "PLUGIN[@VERSION]", value_parser = reference)]
    pub(crate) plugin: Reference,
    /// Hosts.
    #[command(flatten)]
    pub(crate) hosts: HostsArgs,
    /// Allow that the version before cannot read what this one writes: then there is no rollback
    #[arg(long)]
    pub(crate) one_way: bool,
    /// Check, and switch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Who does it.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin's name in the configuration
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Name,
    /// How long to wait for hosts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Say what would run again, and switch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Who does it.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin gc`
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Only components of this plugin
    #[arg(value_name = "PLUGIN", value_parser = name)]
    pub(crate) plugin: Option<Name>,
    /// How many of the components that were pushed last to keep for each plugin, although nothing runs them
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub(crate) keep: usize,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Who does it.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `pelton plugin diff-contract`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The plugin, and the other version of it
    #[arg(value_name = "PLUGIN[@VERSION]", value_parser = reference)]
    pub(crate) plugin: Reference,
    /// The version to compare it with; without it, the one that runs
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<String>,
}

/// A plugin, and perhaps one of its versions.
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
