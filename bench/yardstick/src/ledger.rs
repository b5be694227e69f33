//! The ledger's rules in plain Rust, the same as those of the plugin that Pelton runs.

use anyhow::{Context, anyhow, bail};
use async_nats::jetstream::Message;
use serde::{Deserialize, Serialize};

/// A command with the message that holds it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) deposit: Deposit,
    pub(crate) message: Message,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Leads to one event.
    Deposit,
    /// Leads to three events of a third each.
    DepositInThirds,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::DepositInThirds => "deposit-in-thirds",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Deposit {
    pub(crate) account: String,
    pub(crate) amount: u64,
    pub(crate) note: String,
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deposited {
    pub(crate) account: String,
    pub(crate) amount: u64,
    pub(crate) balance: u64,
    pub(crate) note: String,
}

/// The name of the event's type.
pub(crate) const DEPOSITED: &str = "deposited";

/// The subject of an account's events.
pub(crate) fn event_subject(account: &str) -> String {
    format!("ledger.{account}.{DEPOSITED}.v1")
}

/// The filter on all events of an account.
pub(crate) fn event_filter(account: &str) -> String {
    format!("ledger.{account}.>")
}

impl Command {
    /// Reads the subject, `command.<type>.<id>`, and the data.
    pub(crate) fn read(message: Message) -> anyhow::Result<Self> {
        let mut tokens = message.subject.splitn(3, '.').skip(1);
        let kind = match tokens.next() {
            Some("deposit") => Kind::Deposit,
            Some("deposit-in-thirds") => Kind::DepositInThirds,
            _ => bail!("{} is not the subject of a command", message.subject),
        };
        let id = tokens.next().context("a command has no id")?.to_owned();
        let deposit = serde_json::from_slice(&message.payload).context("a command's data")?;
        Ok(Self { id, kind, deposit, message })
    }

    pub(crate) async fn ack(&self) -> anyhow::Result<()> {
        self.message.ack().await.map_err(|error| anyhow!(error))
    }
}

/// The events that follow from a command on this balance. The benchmark sends no command that would be rejected.
pub(crate) fn decide(balance: u64, kind: Kind, deposit: &Deposit) -> anyhow::Result<Vec<Deposited>> {
    let Deposit { account, amount, note } = deposit;
    if *amount == 0 || balance.checked_add(*amount).is_none() {
        bail!("a deposit of {amount} on {balance} is to be rejected");
    }
    let parts: &[u64] = match kind {
        Kind::Deposit => &[*amount],
        Kind::DepositInThirds => &[amount / 3, amount / 3, amount - amount / 3 * 2],
    };
    let mut balance = balance;
    let events = parts.iter().map(|&amount| {
        balance += amount;
        Deposited { account: account.clone(), amount, balance, note: note.clone() }
    });
    Ok(events.collect())
}
