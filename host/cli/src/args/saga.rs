//! `pelton saga`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use pelton_core::id::InstanceId;

use super::common::{OperatorArgs, ServerArgs};
use crate::config::duration;

/// `pelton saga`
#[derive(Debug, Subcommand)]
pub(crate) enum SagaCommand {
    /// List instances, by saga and id
    List(ListArgs),
    /// Show one instance: its state, last inputs and reactions, timers, and pending commands
    Show(InstanceArgs),
    /// Retry the input on which an instance is quarantined, then those that wait behind it; or do so for all that a filter shows
    Resume(ResumeArgs),
    /// Skip the input on which an instance is quarantined; or do so for all that a filter shows
    Skip(SkipArgs),
    /// End an instance, cancel its timers, and send no further command; or do so for all that a filter shows
    Cancel(SelectionArgs),
    /// Tell an instance again how its commands ended, after its stream was restored from an older copy; or do so for all that
    /// a filter shows
    Retell(SelectionArgs),
    /// Fire a timer of an instance now, by the same path as when it is due
    Fire(FireArgs),
}

/// A filter of instances.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only instances of this saga, by its name or its id
    #[arg(long, value_name = "NAME")]
    pub(crate) saga: Option<String>,
    /// Only those of this status; without it, all that have not ended
    #[arg(long, value_enum)]
    pub(crate) status: Option<InstanceStatus>,
    /// Only those that have this timer set
    #[arg(long, value_name = "ID")]
    pub(crate) timer: Option<String>,
}

impl FilterArgs {
    /// Whether every instance that has not ended passes.
    fn is_empty(&self) -> bool {
        let Self { saga, status, timer } = self;
        saga.is_none() && status.is_none() && timer.is_none()
    }
}

/// `pelton saga list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The listed instances.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
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

/// A selection of instances: one that is named, those that a filter shows, or all. An empty selection is an error.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The saga of one instance, by its name or its id
    #[arg(id = "of", value_name = "SAGA", requires = "instance")]
    pub(crate) of: Option<String>,
    /// The instance's id, as `pelton saga list` shows it
    #[arg(value_name = "INSTANCE", value_parser = instance_id)]
    pub(crate) instance: Option<InstanceId>,
    /// The selected instances, in place of one: those that `pelton saga list` shows with the same filter.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Select all instances that have not ended
    #[arg(long)]
    pub(crate) all: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// The selected instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection<'a> {
    /// This instance of this saga.
    One(&'a str, &'a InstanceId),
    /// All that the filter shows.
    Filtered,
}

impl SelectionArgs {
    /// The selection, of which an action takes only instances that are `of` these statuses. The error says what is missing or
    /// contradictory.
    pub(crate) fn selection(&self, of: &[InstanceStatus]) -> Result<Selection<'_>, String> {
        match (&self.of, &self.instance, self.filter.is_empty(), self.all) {
            (Some(saga), Some(instance), true, false) => Ok(Selection::One(saga, instance)),
            (None, None, true, false) => {
                Err("nothing is selected: name a saga and an instance, give filters, or use --all".to_owned())
            }
            (None, None, false, false) | (None, None, true, true) => match self.filter.status {
                Some(status) if !of.contains(&status) => {
                    Err(format!("nothing can be done with instances that are {}", status.as_str()))
                }
                _ => Ok(Selection::Filtered),
            },
            _ => Err("an instance, filters and --all exclude each other".to_owned()),
        }
    }
}

/// `pelton saga resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The instances. Of those that are selected, only quarantined ones are resumed.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The longest wait for each input
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton saga skip`
#[derive(Debug, Args)]
pub(crate) struct SkipArgs {
    /// The instances, and the wait.
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
    pub(crate) of: InstanceArgs,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// The timer's id, as `pelton saga show` shows it
    #[arg(value_name = "TIMER")]
    pub(crate) timer: String,
}

fn instance_id(text: &str) -> Result<InstanceId, String> {
    InstanceId::new(text).map_err(|error| format!("it {error}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        selection: SelectionArgs,
    }

    fn selected(line: &str) -> Result<String, String> {
        let words = ["cancel"].into_iter().chain(line.split_whitespace());
        let Line { selection } = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let of = [InstanceStatus::Waiting, InstanceStatus::Quarantined];
        selection.selection(&of).map(|selection| format!("{selection:?}"))
    }

    #[test]
    fn instances_are_named_filtered_or_all() {
        let one = r#"One("bot", "7")"#;
        for (line, expected) in [
            ("bot 7", one),
            ("--saga bot", "Filtered"),
            ("--status quarantined", "Filtered"),
            ("--saga bot --timer unpaid --status waiting", "Filtered"),
            ("--all", "Filtered"),
        ] {
            assert_eq!(selected(line).as_deref(), Ok(expected), "{line}");
        }
        for (line, wrong) in [
            ("", "nothing is selected"),
            ("bot", "<INSTANCE>"),
            ("bot 7 --all", "exclude each other"),
            ("bot 7 --status waiting", "exclude each other"),
            ("--all --saga bot", "exclude each other"),
            ("--status ended", "instances that are ended"),
        ] {
            assert!(selected(line).is_err_and(|error| error.contains(wrong)), "{line}");
        }
    }
}
