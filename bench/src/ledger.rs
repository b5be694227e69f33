//! The input of every side: deposits of 256 bytes as commands, and the events that follow from them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use async_nats::jetstream::{self, context::PublishAckFuture};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use fastrand::Rng;
use futures::StreamExt;
use pelton_core::time::Timestamp;

/// The data of a command, in bytes.
const COMMAND_BYTES: usize = 256;
/// The number of concurrent publishes while work is stored in advance.
const PUBLISHES: usize = 512;
/// The wait for an answer after which the run counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What follows from a command: events, or that it is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    One,
    Three,
    Rejected,
}

impl Kind {
    /// The messages that are stored for its entity: events, or the mark of a rejection.
    pub(crate) fn messages(self) -> u64 {
        match self {
            Self::One | Self::Rejected => 1,
            Self::Three => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::One | Self::Rejected => "deposit",
            Self::Three => "deposit-in-thirds",
        }
    }
}

/// Makes commands, each with an id of its own.
#[derive(Debug)]
pub(crate) struct Teller {
    random: Rng,
    accounts: usize,
    next: u64,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    subject: String,
    headers: HeaderMap,
    data: Bytes,
}

impl Message {
    /// Publishes it as a command whose answer goes to this subject.
    pub(crate) async fn send(self, client: &Client, reply_to: String) -> anyhow::Result<()> {
        let Self { subject, mut headers, data } = self;
        headers.insert("Pelton-Reply-To", reply_to);
        Ok(client.publish_with_headers(subject, headers, data).await?)
    }
}

/// The name of an account.
pub(crate) fn account(number: usize) -> String {
    format!("a{number:06}")
}

/// JSON with a note that makes it exactly this long.
pub(crate) fn padded(start: &str, bytes: usize) -> String {
    let rest = bytes.saturating_sub(start.len() + r#","note":""}"#.len());
    format!(r#"{start},"note":"{}"}}"#, "n".repeat(rest))
}

impl Teller {
    pub(crate) fn new(accounts: usize, seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), accounts, next: 0 }
    }

    /// One command for every account.
    pub(crate) fn each_account(&mut self, kind: Kind) -> Vec<Message> {
        (0..self.accounts).map(|number| self.command(kind, number)).collect()
    }

    /// Commands for accounts drawn at random, all equally likely.
    pub(crate) fn any_account(&mut self, kind: Kind, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.draw(kind)).collect()
    }

    /// A command for an account drawn at random.
    pub(crate) fn draw(&mut self, kind: Kind) -> Message {
        let number = self.random.usize(..self.accounts);
        self.command(kind, number)
    }

    fn command(&mut self, kind: Kind, number: usize) -> Message {
        self.next += 1;
        let amount = if kind == Kind::Rejected { 0 } else { 7 };
        let start = format!(r#"{{"account":"{}","amount":{amount}"#, account(number));
        let data = padded(&start, COMMAND_BYTES);
        command(kind.name(), &format!("bench-{:026}", self.next), data)
    }
}

/// A command. Its answer is sent, but not read.
pub(crate) fn command(r#type: &str, id: &str, data: String) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id);
    headers.insert("ce-source", "/bench");
    headers.insert("ce-type", r#type);
    headers.insert("ce-datacontenttype", "application/json");
    headers.insert("Pelton-Reply-To", "_INBOX.bench.nobody");
    Message { subject: format!("command.{type}.{id}"), headers, data: data.into() }
}

/// A deposit in Pelton's stored form: the `nth` event of its account, from 0, with the sequences of the earlier ones.
pub(crate) fn event(number: usize, nth: usize, earlier: &[u64]) -> Message {
    let start = format!(r#"{{"account":"{}","amount":7,"balance":{}"#, account(number), 7 * (nth + 1));
    stored_event("deposited", &start, (number, nth), earlier)
}

/// A deposit whose bonus comes at this time, the account's first event.
pub(crate) fn with_bonus_at(number: usize, due: Timestamp) -> Message {
    let start = format!(r#"{{"account":"{}","due":{}"#, account(number), due.0);
    stored_event("deposited", &start, (number, 0), &[])
}

/// The account's first event, of a type that nothing reads.
pub(crate) fn audited(number: usize) -> Message {
    stored_event("audited", &format!(r#"{{"account":"{}""#, account(number)), (number, 0), &[])
}

fn stored_event(r#type: &str, start: &str, (number, nth): (usize, usize), earlier: &[u64]) -> Message {
    let (account, id) = (account(number), format!("{number:024}-{nth:04}:0"));
    let mut history = format!("{nth};");
    for (i, sequence) in earlier.iter().enumerate() {
        let _ = write!(history, "{}{sequence}", if i == 0 { "" } else { "," });
    }
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id.as_str());
    headers.insert("ce-source", format!("/ledger/{account}"));
    headers.insert("ce-type", r#type);
    headers.insert("ce-subject", account.as_str());
    headers.insert("ce-time", "2026-01-01T00:00:00.123456789Z");
    headers.insert("ce-datacontenttype", "application/json");
    headers.insert("ce-correlationid", &id[..id.len() - 2]);
    headers.insert("ce-causationid", &id[..id.len() - 2]);
    headers.insert("Pelton-Backlinks", history);
    headers.insert("Pelton-Command", format!("{} {:032} 1 1", &id[..id.len() - 2], 0));
    headers.insert("Pelton-Plugin", format!("sha256:{:064}", 0));
    Message {
        subject: format!("ledger.{account}.{type}.v1"),
        headers,
        data: padded(start, COMMAND_BYTES).into(),
    }
}

/// Stores messages in this order and waits until they are stored.
pub(crate) async fn lay_ready(
    client: &Client,
    messages: impl IntoIterator<Item = Message>,
) -> anyhow::Result<()> {
    let jetstream = jetstream::new(client.clone());
    let mut under_way = VecDeque::with_capacity(PUBLISHES);
    for Message { subject, headers, data } in messages {
        if under_way.len() == PUBLISHES
            && let Some(oldest) = under_way.pop_front()
        {
            stored(oldest).await?;
        }
        under_way.push_back(jetstream.publish_with_headers(subject, headers, data).await?);
    }
    for left in under_way {
        stored(left).await?;
    }
    Ok(())
}

async fn stored(publish: PublishAckFuture) -> anyhow::Result<()> {
    publish.await.map(drop).context("laying messages ready")
}

/// Runs clients, each of which sends a command, waits for its answer, and sends the next. Returns the time of each
/// answer, from the publish on.
pub(crate) async fn converse(
    client: &Client,
    clients: usize,
    commands: Vec<Message>,
) -> anyhow::Result<Vec<Duration>> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(format!("{inbox}.*")).await?;
    let mut sent = vec![Instant::now(); clients];
    let mut times = Vec::with_capacity(commands.len());
    let total = commands.len();
    let mut commands = commands.into_iter();
    let mut free: Vec<usize> = (0..clients).collect();
    while times.len() < total {
        while let Some(client_number) = free.pop() {
            let Some(command) = commands.next() else { break };
            sent[client_number] = Instant::now();
            command.send(client, format!("{inbox}.{client_number}")).await?;
        }
        let Ok(answer) = tokio::time::timeout(PATIENCE, answers.next()).await else {
            bail!("a command was not answered within {PATIENCE:?}");
        };
        let number = accepted(&answer.context("the subscription has ended")?)?;
        times.push(sent[number].elapsed());
        free.push(number);
    }
    Ok(times)
}

/// Checks that the command was accepted. Returns the number at the end of the answer's subject.
pub(crate) fn accepted(answer: &async_nats::Message) -> anyhow::Result<usize> {
    let accepted = answer.payload.windows(10).any(|part| part == b"\"accepted\"");
    ensure!(accepted, "a command was not accepted: {}", String::from_utf8_lossy(&answer.payload));
    Ok(answer.subject.rsplit('.').next().unwrap_or_default().parse()?)
}
