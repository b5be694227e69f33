//! `pelton dlq`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use pelton_core::dead_letter::DeadLetterKind;
use pelton_core::id::{CommandId, Sequence};
use pelton_core::time::Timestamp;
use pelton_nats::dead_letters::Filter;

use super::common::ServerArgs;
use crate::config::duration;

/// `pelton dlq`
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, in the order in which they were kept
    List(ListArgs),
    /// Show one dead letter: its message, its cause, and what has happened to it
    Show(ShowArgs),
    /// Have messages processed again, those of one key in order
    Retry(RetryArgs),
    /// Give messages up
    Drop(DropArgs),
    /// Write a case for `pelton test` in which the plugin fails on the message, as small as it still does
    Case(CaseArgs),
}

/// `pelton dlq case`
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// Where it is.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its position in the stream `DEAD_LETTERS`, as `pelton dlq list` shows it
    #[arg(value_name = "SEQUENCE", value_parser = sequence)]
    pub(crate) dead_letter: Sequence,
    /// The component; without it, the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// Where to write the case; without it, dead-letter-SEQUENCE.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Of this handler, projection or saga; `no_handler` for commands that none takes
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Of this entity, view key or instance, as `pelton dlq list` shows it
    #[arg(long, visible_alias = "entity", value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Those that failed, or those that are parked behind them
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// From this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// With the command of this id
    #[arg(long, value_name = "ID", value_parser = command_id)]
    pub(crate) command: Option<CommandId>,
    /// Kept at this time or later: RFC 3339, or so long ago, such as `2h`
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub(crate) since: Option<Timestamp>,
    /// Kept before this time
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub(crate) until: Option<Timestamp>,
}

impl FilterArgs {
    /// As the stream is asked.
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

/// Why a message is among the dead letters.
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
    /// Where they are.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Which.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// The most dead letters that are listed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// `pelton dlq show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Where it is.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its position in the stream `DEAD_LETTERS`, as `pelton dlq list` shows it, or its subject
    #[arg(value_name = "SEQUENCE")]
    pub(crate) dead_letter: String,
}

/// Which dead letters to do something about: named, filtered, or all. Nothing is no selection.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Positions in the stream `DEAD_LETTERS`, as `pelton dlq list` shows them
    #[arg(value_name = "SEQUENCE", value_parser = sequence)]
    pub(crate) dead_letters: Vec<Sequence>,
    /// Which.
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Who does it, for the audit stream; without it, the user and the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

impl SelectionArgs {
    /// What was selected. The error says why that is nothing clear.
    pub(crate) fn selection(&self) -> Result<Selection, String> {
        let filter = self.filter.filter();
        match (self.dead_letters.is_empty(), filter == Filter::default(), self.all) {
            (true, true, false) => {
                Err("nothing is selected: name sequences, give filters, or say --all".to_owned())
            }
            (false, true, false) => Ok(Selection::Named(self.dead_letters.clone())),
            (true, false, false) | (true, true, true) => Ok(Selection::Filtered(filter)),
            _ => Err("sequences, filters and --all exclude each other".to_owned()),
        }
    }
}

/// What was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Just these.
    Named(Vec<Sequence>),
    /// All that the filter takes.
    Filtered(Filter),
}

/// `pelton dlq retry`
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// Where they are.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Which.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// How long to wait for each message to be processed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
}

/// `pelton dlq drop`
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// Where they are.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Which.
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Why, for the audit stream and whoever asks for a command's outcome
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
