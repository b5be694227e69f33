//! *same*: [`bare`](crate::bare) and everything that Pelton's promises store or send for a command.
//!
//! It does, in this order: read the command; check whether an outcome is recorded under its id; check whether the
//! account has the command in memory; decide natively on the state in memory; append with an expectation on the
//! account's filter and message ids, several events as one atomic batch, every event a CloudEvent with its cause, its
//! process, the account's earlier sequences, the command's fingerprint and the name of the decider; record the outcome,
//! of which the first one stands; answer the waiting client; acknowledge. It stores the same bytes as Pelton.
//!
//! It leaves out: rejections (none are sent), loading an account that is not in memory, conflicts with other writers,
//! dead letters, limits, a sandbox around the decision, and on a cluster the answer to a command that comes twice.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::Message;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::LEDGER;
use crate::lanes::Side;
use crate::ledger::{self, Command, DEPOSITED};

/// The most earlier sequences that an event lists.
const MAX_LISTED: usize = 48;
/// Stands in for a component's digest.
const DECIDED_BY: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Debug)]
pub(crate) struct Same {
    client: Client,
    read: Read,
}

/// The server that is asked for an outcome.
#[derive(Debug, Clone, Copy)]
enum Read {
    /// Any server.
    Direct,
    /// The stream's leader, because a replica could be behind.
    Leader,
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    balance: u64,
    /// The number of events, and the latest of their sequences.
    count: u64,
    latest: VecDeque<u64>,
    /// The events of every command that took effect.
    effects: HashMap<String, Vec<EventRef>>,
}

#[derive(Debug, Clone, Serialize)]
struct EventRef {
    id: String,
    r#type: &'static str,
    version: u32,
    stream: &'static str,
    sequence: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    command_id: &'a str,
    command_type: &'a str,
    entity: &'a str,
    correlation_id: &'a str,
    fingerprint: &'a str,
    decided_by: &'a str,
    at: String,
    status: &'a str,
    events: &'a [EventRef],
}

impl Same {
    pub(crate) fn new(client: Client, replicas: usize) -> Self {
        Self { client, read: if replicas > 1 { Read::Leader } else { Read::Direct } }
    }
}

impl Side for Same {
    type Input = Command;
    type Account = Account;

    fn read(&self, message: Message) -> anyhow::Result<(String, Command)> {
        let command = Command::read(message)?;
        Ok((command.deposit.account.clone(), command))
    }

    async fn handle(&self, account: &mut Account, command: Command) -> anyhow::Result<()> {
        let fingerprint = fingerprint(&command)?;
        let outcome = match self.recorded(&command).await? {
            Some(first) => first,
            None => {
                if !account.effects.contains_key(&command.id) {
                    let (balance, events) = self.append(account, &command, &fingerprint).await?;
                    account.take(balance, &command.id, events);
                }
                let events = account.effects.get(&command.id).context("a command without an effect")?;
                self.record(&command, &fingerprint, events).await?
            }
        };
        self.answer(&command, outcome).await?;
        command.ack().await
    }
}

impl Same {
    /// The outcome that is recorded under the command's id.
    async fn recorded(&self, command: &Command) -> anyhow::Result<Option<Bytes>> {
        let query = format!("{{\"last_by_subj\":\"audit.outcome.{}\"}}", command.id);
        match self.read {
            Read::Direct => {
                let answer = self.client.request("$JS.API.DIRECT.GET.AUDIT", query.into()).await?;
                let missing = answer.status.is_some_and(|status| status.as_u16() == 404);
                Ok((!missing).then_some(answer.payload))
            }
            Read::Leader => {
                let answer = self.client.request("$JS.API.STREAM.MSG.GET.AUDIT", query.into()).await?;
                let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
                ensure!(answer["error"]["err_code"] == 10037, "not the answer to a new command: {answer}");
                Ok(None)
            }
        }
    }

    /// Stores the events that follow from the command. Returns the new balance, and the places of the events.
    async fn append(
        &self,
        account: &Account,
        command: &Command,
        fingerprint: &str,
    ) -> anyhow::Result<(u64, Vec<EventRef>)> {
        let events = ledger::decide(account.balance, command.kind, &command.deposit)?;
        let name = &command.deposit.account;
        let time = Timestamp::from_nanosecond(
            command.message.info().map_err(anyhow::Error::from_boxed)?.published.unix_timestamp_nanos(),
        )?
        .to_string();
        let mut messages = Vec::with_capacity(events.len());
        for (n, event) in events.iter().enumerate() {
            let id = format!("{}:{n}", command.id);
            let mut headers = HeaderMap::new();
            headers.insert("ce-specversion", "1.0");
            headers.insert("ce-id", id.as_str());
            headers.insert("ce-source", format!("/{LEDGER}/{name}"));
            headers.insert("ce-type", DEPOSITED);
            headers.insert("ce-subject", name.as_str());
            headers.insert("ce-time", time.as_str());
            headers.insert("ce-datacontenttype", "application/json");
            headers.insert("ce-correlationid", command.id.as_str());
            headers.insert("ce-causationid", command.id.as_str());
            headers.insert("Pelton-Backlinks", account.history(n));
            headers.insert("Pelton-Command", fingerprint);
            headers.insert("Pelton-Plugin", DECIDED_BY);
            headers.insert("Nats-Msg-Id", id.as_str());
            if n == 0 {
                let at = account.latest.back().copied().unwrap_or(0);
                headers.insert("Nats-Expected-Last-Subject-Sequence", at.to_string());
                headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", ledger::event_filter(name));
                headers.insert("Nats-Expected-Stream", LEDGER);
            }
            messages.push((headers, Bytes::from(serde_json::to_vec(event)?)));
        }
        let last = self.publish(&ledger::event_subject(name), &command.id, messages).await?;
        let first = last + 1 - events.len() as u64;
        let stored = (0..).zip(first..=last).map(|(n, sequence): (u32, u64)| EventRef {
            id: format!("{}:{n}", command.id),
            r#type: DEPOSITED,
            version: 1,
            stream: LEDGER,
            sequence,
        });
        let balance = events.last().map_or(account.balance, |event| event.balance);
        Ok((balance, stored.collect()))
    }

    /// Stores messages, several as one atomic batch. Returns the sequence of the last.
    async fn publish(
        &self,
        subject: &str,
        batch: &str,
        mut messages: Vec<(HeaderMap, Bytes)>,
    ) -> anyhow::Result<u64> {
        let count = messages.len();
        let (mut headers, payload) = messages.pop().context("nothing to store")?;
        if count > 1 {
            for (n, (mut headers, payload)) in (1..).zip(messages) {
                headers.insert("Nats-Batch-Id", batch);
                headers.insert("Nats-Batch-Sequence", u32::to_string(&n));
                self.client.publish_with_headers(subject.to_owned(), headers, payload).await?;
            }
            headers.insert("Nats-Batch-Id", batch);
            headers.insert("Nats-Batch-Sequence", count.to_string());
            headers.insert("Nats-Batch-Commit", "1");
        }
        let answer = self.client.request_with_headers(subject.to_owned(), headers, payload).await?;
        stored(&answer.payload)
    }

    async fn record(
        &self,
        command: &Command,
        fingerprint: &str,
        events: &[EventRef],
    ) -> anyhow::Result<Bytes> {
        let outcome = Bytes::from(serde_json::to_vec(&Outcome {
            command_id: &command.id,
            command_type: command.kind.name(),
            entity: &command.deposit.account,
            correlation_id: &command.id,
            fingerprint,
            decided_by: DECIDED_BY,
            at: Timestamp::now().to_string(),
            status: "accepted",
            events,
        })?);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", "AUDIT");
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", format!("audit.*.{}", command.id));
        let subject = format!("audit.outcome.{}", command.id);
        let answer = self.client.request_with_headers(subject, headers, outcome.clone()).await?;
        stored(&answer.payload)?;
        Ok(outcome)
    }

    async fn answer(&self, command: &Command, outcome: Bytes) -> anyhow::Result<()> {
        let headers = command.message.headers.as_ref();
        if let Some(reply_to) = headers.and_then(|headers| headers.get("Pelton-Reply-To")) {
            self.client.publish(reply_to.as_str().to_owned(), outcome).await?;
        }
        Ok(())
    }
}

impl Account {
    /// The list of the account's earlier events for the event after `n` events of its own batch.
    fn history(&self, n: usize) -> String {
        let mut text = format!("{};", self.count);
        for (i, sequence) in self.latest.iter().enumerate() {
            let _ = write!(text, "{}{sequence}", if i == 0 { "" } else { "," });
        }
        if n > 0 {
            let _ = write!(text, "+{n}");
        }
        text
    }

    fn take(&mut self, balance: u64, command: &str, events: Vec<EventRef>) {
        self.balance = balance;
        for event in &events {
            if self.latest.len() == MAX_LISTED {
                self.latest.pop_front();
            }
            self.latest.push_back(event.sequence);
            self.count += 1;
        }
        self.effects.insert(command.to_owned(), events);
    }
}

/// Tells a retry from another command with the same id.
fn fingerprint(command: &Command) -> anyhow::Result<String> {
    let entity = format!("ledger.{}", command.deposit.account);
    let mut hash = Sha256::new();
    for part in [command.kind.name().as_bytes(), entity.as_bytes(), &command.message.payload] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = String::with_capacity(32);
    for byte in &hash.finalize()[..16] {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// The sequence of a stored message.
fn stored(answer: &[u8]) -> anyhow::Result<u64> {
    #[derive(Deserialize)]
    struct Stored {
        seq: Option<u64>,
        #[serde(default)]
        duplicate: bool,
    }
    match serde_json::from_slice(answer)? {
        Stored { seq: Some(sequence), duplicate: false } => Ok(sequence),
        _ => bail!("not stored: {}", String::from_utf8_lossy(answer)),
    }
}
