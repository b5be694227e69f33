//! *bare*: the least work that decides a command and stores its event once.
//!
//! It does: read the command, decide natively on the state in memory, append the event with an expectation on the
//! account's last sequence and with a message id, acknowledge.
//!
//! It leaves out: decisions of several events, any record of the outcome, causation and history on the event, an answer
//! to a waiting client, the check whether the command was handled before (it has only the server's duplicate window of
//! two minutes), and loading an account that is not in memory.

use anyhow::{Context, ensure};
use async_nats::jetstream;
use async_nats::jetstream::Message;
use async_nats::jetstream::message::PublishMessage;

use crate::LEDGER;
use crate::lanes::Side;
use crate::ledger::{self, Command, Kind};

#[derive(Debug)]
pub(crate) struct Bare {
    jetstream: jetstream::Context,
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    balance: u64,
    /// The sequence of its last event; 0 if it has none.
    at: u64,
}

impl Bare {
    pub(crate) fn new(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }
}

impl Side for Bare {
    type Input = Command;
    type Account = Account;

    fn read(&self, message: Message) -> anyhow::Result<(String, Command)> {
        let command = Command::read(message)?;
        ensure!(command.kind == Kind::Deposit, "bare stores decisions of one event only");
        Ok((command.deposit.account.clone(), command))
    }

    async fn handle(&self, account: &mut Account, command: Command) -> anyhow::Result<()> {
        for event in ledger::decide(account.balance, command.kind, &command.deposit)? {
            let message = PublishMessage::build()
                .payload(serde_json::to_vec(&event)?.into())
                .message_id(format!("{}:0", command.id))
                .expected_stream(LEDGER)
                .expected_last_subject_sequence(account.at)
                .header("Nats-Expected-Last-Subject-Sequence-Subject", ledger::event_filter(&event.account));
            let stored = self.jetstream.send_publish(ledger::event_subject(&event.account), message).await?;
            let stored = stored.await.context("the event was not stored")?;
            ensure!(!stored.duplicate, "the event of {} was stored before", command.id);
            *account = Account { balance: event.balance, at: stored.sequence };
        }
        command.ack().await
    }
}
