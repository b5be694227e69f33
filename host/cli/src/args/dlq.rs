//! `pelton dlq`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::time::Timestamp;
use pelton_nats::dead_letters::Filter;

use super::common::{OperatorArgs, ServerArgs};
use crate::config::duration;

/// `pelton dlq`
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, in the order in which they were kept
    List(ListArgs),
    /// Show one dead letter: its message, its cause, and what has happened to it
    Show(ShowArgs),
    /// Process messages again, those of one key in order
    Retry(RetryArgs),
    /// Give up messages
    Drop(DropArgs),
    /// Write the smallest case for `pelton test` in which the plugin still fails on the message
    Case(CaseArgs),
}

/// `pelton dlq case`
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its position in the stream `DEAD_LETTERS`, as `pelton dlq list` shows it
    #[arg(value_name = "SEQUENCE", value_parser = sequence)]
    pub(crate) dead_letter: Sequence,
    /// The component; without it, the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// The file for the case; without it, dead-letter-SEQUENCE.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A filter of dead letters.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only those of this handler, projection or saga; `no_handler` for commands that no handler takes
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Only those of this entity, view key or instance, as `pelton dlq list` shows it
    #[arg(long, visible_alias = "entity", value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only those that failed, or only those that are parked behind them
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Only messages of this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only the one with the command of this id
    #[arg(long, value_name = "ID", value_parser = command_id)]
    pub(crate) command: Option<CommandId>,
    /// Only those kept at this time or later: RFC 3339, or a time ago, such as `2h`
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub(crate) since: Option<Timestamp>,
    /// Only those kept before this time
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub(crate) until: Option<Timestamp>,
}

impl FilterArgs {
    /// The filter in the form that the stream is asked with.
    #[must_use]
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            consumer: self.consumer.clone(),
            key: self.key.clone(),
            kind: self.kind.map(|kind| match kind {
                Kind::Failed => DeadLetterKind::Failed,
                Kind::Parked => DeadLetterKind::Parked,
            }),
            stream: self.stream.clone(),
            command: self.command.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

/// The reason why a message is among the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// It failed itself.
    Failed,
    /// It waits behind one that failed.
    Parked,
}

/// `pelton dlq list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The selected dead letters.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// List at most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// `pelton dlq show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its position in the stream `DEAD_LETTERS`, as `pelton dlq list` shows it, or its subject
    #[arg(value_name = "SEQUENCE")]
    pub(crate) dead_letter: String,
}

/// A selection of dead letters: named, filtered, or all. An empty selection is an error.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Positions in the stream `DEAD_LETTERS`, as `pelton dlq list` shows them
    #[arg(value_name = "SEQUENCE", value_parser = sequence)]
    pub(crate) dead_letters: Vec<Sequence>,
    /// The selected dead letters.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Select all dead letters
    #[arg(long)]
    pub(crate) all: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The operator.
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

impl SelectionArgs {
    /// The selection. The error says what is missing or contradictory.
    pub(crate) fn selection(&self) -> Result<Selection, String> {
        let filter = self.filter.filter();
        match (self.dead_letters.is_empty(), filter == Filter::default(), self.all) {
            (true, true, false) => {
                Err("nothing is selected: name sequences, give filters, or use --all".to_owned())
            }
            (false, true, false) => Ok(Selection::Named(self.dead_letters.clone())),
            (true, false, false) | (true, true, true) => Ok(Selection::Filtered(filter)),
            _ => Err("sequences, filters and --all exclude each other".to_owned()),
        }
    }
}

/// A selection of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// These.
    Named(Vec<Sequence>),
    /// All that the filter matches.
    Filtered(Filter),
}

/// `pelton dlq retry`
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The selected dead letters.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The longest wait for each message
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton dlq drop`
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The selected dead letters.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The reason, for the audit stream and for clients that ask for a command's outcome
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

fn sequence(text: &str) -> Result<Sequence, String> {
    let number: u64 = text.parse().map_err(|_| "it is not a position in a stream".to_owned())?;
    Ok(Sequence(number))
}

fn command_id(text: &str) -> Result<CommandId, String> {
    CommandId::new(text).map_err(|error| format!("it {error}"))
}

fn point_in_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(Timestamp(Timestamp::now().0.saturating_sub(ago)));
    }
    Timestamp::parse(text).map_err(|error| format!("{error}; write one, or how long ago, such as `2h`"))
}
