//! `pelton dlq`: what cannot be processed, listed, shown, retried, dropped.

pub mod args;
mod output;
mod resolve;

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use pelton_core::id::Sequence;
use pelton_nats::Nats;
use pelton_nats::dead_letters::{self, Filter, KeptLetter, Operator};

use crate::config::{self, Config};
use crate::failure::Failure;
use crate::{flows, host};
use args::{DlqCommand, ListArgs, Selection, ServerArgs, ShowArgs};
use output::Output;

/// Does what was asked for.
pub async fn run(command: &DlqCommand) -> Result<(), Failure> {
    match command {
        DlqCommand::List(arguments) => list(arguments).await,
        DlqCommand::Show(arguments) => show(arguments).await,
        DlqCommand::Retry(arguments) => resolve::retry(arguments).await,
        DlqCommand::Drop(arguments) => resolve::drop(arguments).await,
    }
}

/// A desk with the dead letters of one server.
struct Desk {
    config: Config,
    nats: Nats,
    output: Output,
}

impl Desk {
    /// Reads the configuration and connects. The components are not looked at: they may be what is wrong.
    async fn open(server: &ServerArgs) -> Result<Self, Failure> {
        let mut loaded =
            config::load(&server.config.config).map_err(|error| Failure::Unusable(error.into()))?;
        let Some(mut config) = loaded.config.take() else {
            return Err(Failure::Configuration(Box::new(loaded.into_report(Vec::new()))));
        };
        if !server.nats.is_empty() {
            config.nats.urls.clone_from(&server.nats);
        }
        let nats = Nats::connect(&host::connection(&config)).await;
        let nats = nats.context("the dead letters cannot be reached").map_err(Failure::Run)?;
        Ok(Self { config, nats, output: Output { json: server.json } })
    }

    fn is_replicated(&self) -> bool {
        flows::is_replicated(&self.config)
    }

    fn operator(&self, by: String, patience: Duration) -> Operator {
        Operator::new(&self.nats, self.is_replicated(), by, patience)
    }

    /// The letters that the filter takes, `limit` of them at most, and whether there are more.
    async fn find(&self, filter: &Filter, limit: usize) -> Result<(Vec<KeptLetter>, bool), Failure> {
        let (mut found, mut from) = (Vec::new(), Some(Sequence(1)));
        while let Some(start) = from.filter(|_| found.len() <= limit) {
            let page = dead_letters::page(&self.nats, filter, start, self.is_replicated());
            let page = page.await.map_err(run_failed)?;
            // A listing has no use for payloads, which may be large.
            found.extend(page.letters.into_iter().map(without_payload));
            from = page.next;
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    async fn select(&self, selection: &Selection) -> Result<Vec<KeptLetter>, Failure> {
        match selection {
            Selection::Filtered(filter) => Ok(self.find(filter, usize::MAX).await?.0),
            Selection::Named(sequences) => {
                let mut found = Vec::new();
                for sequence in sequences {
                    let letter = dead_letters::describe(&self.nats, *sequence).await.map_err(run_failed)?;
                    found.push(without_payload(there(letter, *sequence)?));
                }
                found.sort_by_key(|letter| letter.sequence);
                found.dedup_by_key(|letter| letter.sequence);
                Ok(found)
            }
        }
    }

    async fn read(&self, sequence: Sequence) -> Result<KeptLetter, Failure> {
        there(dead_letters::read(&self.nats, sequence).await.map_err(run_failed)?, sequence)
    }
}

fn there(letter: Option<KeptLetter>, sequence: Sequence) -> Result<KeptLetter, Failure> {
    letter.with_context(|| format!("there is no dead letter {sequence}")).map_err(Failure::Run)
}

fn without_payload(mut letter: KeptLetter) -> KeptLetter {
    letter.letter.message.payload.clear();
    letter
}

fn run_failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Run(error.into())
}

async fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let desk = Desk::open(&arguments.server).await?;
    let (letters, more) = desk.find(&arguments.filter.filter(), arguments.limit).await?;
    desk.output.list(&letters);
    if more {
        let _ = writeln!(std::io::stderr(), "there are more; --limit {} shows more", arguments.limit * 10);
    }
    Ok(())
}

async fn show(arguments: &ShowArgs) -> Result<(), Failure> {
    let desk = Desk::open(&arguments.server).await?;
    let sequence = match arguments.letter.parse() {
        Ok(sequence) => Sequence(sequence),
        Err(_) => {
            let found = dead_letters::at(&desk.nats, &arguments.letter).await.map_err(run_failed)?;
            found
                .ok_or_else(|| anyhow!("there is no dead letter at {}", arguments.letter))
                .map_err(Failure::Run)?
        }
    };
    let letter = desk.read(sequence).await?;
    let journal =
        dead_letters::journal(&desk.nats, sequence, desk.is_replicated()).await.map_err(run_failed)?;
    desk.output.show(&letter, &journal);
    Ok(())
}
