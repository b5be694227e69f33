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
    /// Show one instance: its state, last inputs and reactions, timers, and pending commands
    Show(InstanceArgs),
    /// Retry the input on which an instance is quarantined, then those that wait behind it
    Resume(ResumeArgs),
    /// Skip the input on which an instance is quarantined
    Skip(SkipArgs),
    /// End an instance, cancel its timers, and send no further command
    Cancel(ChangeArgs),
    /// Fire a timer of an instance now, by the same path as when it is due
    Fire(FireArgs),
}

/// `pelton saga list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Only instances of this saga, by its name or its id
    #[arg(long, value_name = "NAME")]
    pub(crate) saga: Option<String>,
    /// Only those of this status; without it, all that have not ended
    #[arg(long, value_enum)]
    pub(crate) status: Option<InstanceStatus>,
    /// Only those that have this timer set
    #[arg(long, value_name = "ID")]
    pub(crate) timer: Option<String>,
    /// List at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// The status of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstanceStatus {
    /// The instance waits for its next input.
    Waiting,
    /// The instance is quarantined behind a dead letter.
    Quarantined,
    /// The instance has ended and is still remembered.
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
    /// The server.
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
    /// The instance.
    #[command(flatten)]
    pub(crate) of: InstanceArgs,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator's name; without it, the user and the machine's name
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `pelton saga resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The instance.
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// The longest wait for each input
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton saga skip`
#[derive(Debug, Args)]
pub(crate) struct SkipArgs {
    /// The instance, and the wait.
    #[command(flatten)]
    pub(crate) resume: ResumeArgs,
    /// The reason, for the audit stream
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `pelton saga fire`
#[derive(Debug, Args)]
pub(crate) struct FireArgs {
    /// The instance.
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// The timer's id, as `pelton saga show` shows it
    #[arg(value_name = "TIMER")]
    pub(crate) timer: String,
}

fn instance_id(text: &str) -> Result<InstanceId, String> {
    InstanceId::new(text).map_err(|error| format!("it {error}"))
}
