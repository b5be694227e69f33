//! `pelton dlq`: lists, shows, retries and drops dead letters, and makes cases of them.

mod case;
mod causes;
mod client;
mod output;
mod queues;
mod resolve;

use std::io::Write;

use anyhow::anyhow;
use pelton_core::id::Sequence;
use pelton_nats::dead_letters;

use crate::args::dlq::{DlqCommand, ListArgs, ShowArgs};
use crate::exit::Failure;
use client::{DlqClient, run_failed};

pub(crate) use queues::{Queues, Resolved};
pub(crate) use resolve::{drop, retry};

/// Runs the subcommand.
pub(crate) async fn run(command: &DlqCommand) -> Result<(), Failure> {
    match command {
        DlqCommand::List(arguments) => list(arguments).await,
        DlqCommand::Show(arguments) => show(arguments).await,
        DlqCommand::Retry(arguments) => retry(arguments).await,
        DlqCommand::Drop(arguments) => drop(arguments).await,
        DlqCommand::Case(arguments) => case::run(arguments).await,
    }
}

async fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let client = DlqClient::open(&arguments.server).await?;
    let found = client.find(&arguments.filter.filter(), arguments.limit).await;
    let (dead_letters, more) = found.map_err(run_failed)?;
    client.output.list(&dead_letters);
    if more {
        let _ = writeln!(std::io::stderr(), "there are more; --limit {} shows more", arguments.limit * 10);
    }
    Ok(())
}

async fn show(arguments: &ShowArgs) -> Result<(), Failure> {
    let client = DlqClient::open(&arguments.server).await?;
    let sequence = match arguments.dead_letter.parse() {
        Ok(sequence) => Sequence(sequence),
        Err(_) => {
            let found = dead_letters::at(&client.nats, &arguments.dead_letter).await.map_err(run_failed)?;
            found
                .ok_or_else(|| anyhow!("there is no dead letter at {}", arguments.dead_letter))
                .map_err(Failure::Run)?
        }
    };
    let dead_letter = client.read(sequence).await?;
    let journal =
        dead_letters::journal(&client.nats, sequence, client.is_replicated()).await.map_err(run_failed)?;
    client.output.show(&dead_letter, &journal);
    Ok(())
}
