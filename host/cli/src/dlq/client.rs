//! Access to the dead letters of one server.

use std::time::Duration;

use anyhow::Context;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use pelton_nats::Nats;
use pelton_nats::dead_letters::{self, Filter, KeptDeadLetter, Operator};

use super::output::Output;
use crate::args::common::ServerArgs;
use crate::args::dlq::Selection;
use crate::config::Config;
use crate::exit::Failure;
use crate::run;
use crate::server;

/// The dead letters of one server.
pub(super) struct DlqClient {
    pub(super) config: Config,
    pub(super) nats: Nats,
    pub(super) output: Output,
}

impl DlqClient {
    /// Reads the configuration and connects.
    pub(super) async fn open(arguments: &ServerArgs) -> Result<Self, Failure> {
        let (config, nats) = server::connect(arguments).await?;
        Ok(Self { config, nats, output: Output { json: arguments.json } })
    }

    pub(super) fn is_replicated(&self) -> bool {
        run::is_replicated(&self.config)
    }

    pub(super) fn operator(&self, by: String, patience: Duration) -> Operator {
        let commands = run::commands(&self.config, &self.nats, &run::intake(&self.config));
        Operator::new(&self.nats, commands, self.is_replicated(), by, patience)
    }

    /// At most `limit` dead letters that match the filter, and whether there are more.
    pub(super) async fn find(
        &self,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<KeptDeadLetter>, bool), Unavailable> {
        let (mut found, mut from) = (Vec::new(), Some(Sequence(1)));
        while let Some(start) = from.filter(|_| found.len() <= limit) {
            let page = dead_letters::page(&self.nats, filter, start, self.is_replicated()).await?;
            // A listing does not show payloads, which may be large.
            found.extend(page.dead_letters.into_iter().map(without_payload));
            from = page.next;
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    pub(super) async fn select(&self, selection: &Selection) -> Result<Vec<KeptDeadLetter>, Failure> {
        match selection {
            Selection::Filtered(filter) => Ok(self.find(filter, usize::MAX).await.map_err(run_failed)?.0),
            Selection::Named(sequences) => {
                let mut found = Vec::new();
                for sequence in sequences {
                    let dead_letter =
                        dead_letters::describe(&self.nats, *sequence).await.map_err(run_failed)?;
                    found.push(without_payload(there(dead_letter, *sequence)?));
                }
                found.sort_by_key(|dead_letter| dead_letter.sequence);
                found.dedup_by_key(|dead_letter| dead_letter.sequence);
                Ok(found)
            }
        }
    }

    pub(super) async fn read(&self, sequence: Sequence) -> Result<KeptDeadLetter, Failure> {
        there(dead_letters::read(&self.nats, sequence).await.map_err(run_failed)?, sequence)
    }
}

fn there(dead_letter: Option<KeptDeadLetter>, sequence: Sequence) -> Result<KeptDeadLetter, Failure> {
    dead_letter.with_context(|| format!("there is no dead letter {sequence}")).map_err(Failure::Run)
}

fn without_payload(mut dead_letter: KeptDeadLetter) -> KeptDeadLetter {
    dead_letter.dead_letter.message.payload.clear();
    dead_letter
}

pub(super) fn run_failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Run(error.into())
}
