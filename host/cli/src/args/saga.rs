//! `pelton saga`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use pelton_core::id::InstanceId;

use super::common::ServerArgs;
use crate::config::duration;

/// `pelton saga`
#[derive(Debug, Subcommand)]
pub(crate) enum SagaCommand {
    /// List instances, by saga and id
    List(ListArgs),
    /// Show one instance: its state, its last inputs and what followed, its timers, its commands on their way
    Show(InstanceArgs),
    /// Have a quarantined instance try again what it failed on, and then what waits behind it
    Resume(ResumeArgs),
    /// Have a quarantined instance go on without what it failed on
    Skip(SkipArgs),
    /// End an instance: its timers are cancelled, and no command follows
    Cancel(ChangeArgs),
    /// Let a timer of an instance go off now, as it will when it is due
    Fire(FireArgs),
}

/// `pelton saga list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Where they are.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Of this saga, by its name or its id; without it, of all
    #[arg(long, value_name = "NAME")]
    pub(crate) saga: Option<String>,
    /// Those of this status; without it, all that have not ended
    #[arg(long, value_enum)]
    pub(crate) status: Option<InstanceStatus>,
    /// Those that have this timer set
    #[arg(long, value_name = "ID")]
    pub(crate) timer: Option<String>,
    /// The most instances that are listed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// The status of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstanceStatus {
    /// It waits for its next input.
    Waiting,
    /// It stands still behind a dead letter.
    Quarantined,
    /// It has ended, and is not forgotten yet.
    Ended,
}

impl InstanceStatus {
    /// Its name.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Quarantined => "quarantined",
            Self::Ended => "ended",
        }
    }
}

/// One instance.
#[derive(Debug, Args)]
pub(crate) struct InstanceArgs {
    /// Where it is.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The saga, by its name or its id
    #[arg(value_name = "SAGA")]
    pub(crate) saga: String,
    /// The instance's id, as `pelton saga list` shows it
    #[arg(value_name = "INSTANCE", value_parser = instance_id)]
    pub(crate) instance: InstanceId,
}

/// A change of one instance.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) of: InstanceArgs,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Who does it; without it, the user and the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `pelton saga resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// How long to wait for each input to be handled
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton saga skip`
#[derive(Debug, Args)]
pub(crate) struct SkipArgs {
    /// Which, and how long to wait.
    #[command(flatten)]
    pub(crate) resume: ResumeArgs,
    /// Why, for the audit stream
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `pelton saga fire`
#[derive(Debug, Args)]
pub(crate) struct FireArgs {
    /// Which.
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// The timer's id, as `pelton saga show` shows it
    #[arg(value_name = "TIMER")]
    pub(crate) timer: String,
}

fn instance_id(text: &str) -> Result<InstanceId, String> {
    InstanceId::new(text).map_err(|error| format!("it {error}"))
}
