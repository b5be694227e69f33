//! Clients: over HTTP to either host, and directly to NATS.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr};
use fastrand::Rng;
use futures::StreamExt;
use futures::future::join_all;
use pelton_core::partition::Partition;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Answer, Ledger};
use super::plan::{Manner, Other, Payload, Plan, is_unreadable, plan};
use super::world::partitions;

/// The time that a client waits for an outcome before it asks again.
const WAIT: Duration = Duration::from_secs(2);
/// The longest time of one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The payload of a message that is not a command.
pub(super) const UNREADABLE: &str = "no command";

/// Sends the commands of a seed.
#[derive(Debug)]
pub(super) struct Clients {
    seed: u64,
    next: AtomicU64,
    http: reqwest::Client,
    gateways: Vec<String>,
    nats: Client,
    pub(super) ledger: Ledger,
    /// The ids of the commands that clients are at.
    working: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
enum Channel {
    Gateway(usize),
    /// Directly to the command stream.
    Nats {
        /// Publishes only while no command with this id is stored, as a gateway does. A client that may send different
        /// commands under one id has to do this.
        conditional: bool,
    },
}

impl Clients {
    pub(super) async fn new(seed: u64, gateways: Vec<String>, nats: &[String]) -> anyhow::Result<Self> {
        let options = ConnectOptions::new()
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| Duration::from_millis(100));
        let nats: Vec<ServerAddr> = nats.iter().map(|url| url.parse()).collect::<Result<_, _>>()?;
        let nats = options.connect(nats).await.context("no connection to NATS")?;
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self {
            seed,
            next: AtomicU64::new(0),
            http,
            gateways,
            nats,
            ledger: Ledger::default(),
            working: Mutex::default(),
        })
    }

    /// The connection that bypasses all proxies.
    pub(super) fn nats(&self) -> &Client {
        &self.nats
    }

    /// One client: sends one command after the other until it is told to stop, and finishes the current one.
    pub(super) async fn work(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if is_unreadable(self.seed, n) {
                self.run_unreadable(&format!("u{n}")).await;
            } else {
                let plan = plan(self.seed, n);
                let id = plan.id.clone();
                self.working().insert(id.clone());
                self.run(plan).await;
                self.working().remove(&id);
            }
        }
    }

    /// The ids of the commands that clients are at.
    pub(super) fn working(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, plan: Plan) {
        let Plan { id, payload, manner, copies, other, again, mut random } = plan;
        let waits = manner == Manner::Insist;
        let conditional = other.is_some();
        let channel = |random: &mut Rng| match random.usize(0..self.gateways.len() + 1) {
            gateway if gateway < self.gateways.len() => Channel::Gateway(gateway),
            _ => Channel::Nats { conditional },
        };
        let (at_once, afterwards): (Vec<_>, Vec<_>) = other.iter().partition(|other: &&Other| other.at_once);
        let payloads =
            std::iter::repeat_n(&payload, copies).chain(at_once.iter().map(|other| &other.payload));
        let channels: Vec<_> = payloads.map(|payload| (payload, channel(&mut random))).collect();
        let sends = channels.into_iter().map(|(payload, channel)| self.send(&id, payload, channel, waits));
        let mut answered = join_all(sends).await.into_iter().take(copies).any(|answered| answered);
        if manner == Manner::Forget {
            return;
        }
        while !answered {
            sleep(Duration::from_millis(random.u64(50..800))).await;
            let channel = channel(&mut random);
            answered = self.send(&id, &payload, channel, true).await;
        }
        for Other { payload, .. } in afterwards {
            let channel = channel(&mut random);
            self.send(&id, payload, channel, true).await;
        }
        if let Some(pause) = again {
            sleep(pause).await;
            let channel = channel(&mut random);
            self.send(&id, &payload, channel, true).await;
        }
    }

    /// Sends a message that is not a command until it is stored. It has to be set aside, once.
    async fn run_unreadable(&self, id: &str) {
        self.ledger.send_unreadable(id);
        let jetstream = jetstream::new(self.nats.clone());
        // It has no order, so every partition is as right as another.
        let subject = format!("command.{}.{id}", Partition::first(partitions()).of_name("refund"));
        let store = async || {
            let stored = jetstream.publish(subject.clone(), UNREADABLE.into()).await?;
            anyhow::Ok(timeout(TIMEOUT, stored).await??.sequence)
        };
        loop {
            match store().await {
                Ok(sequence) => return self.ledger.stored_unreadable(id, sequence),
                Err(_) => sleep(WAIT).await,
            }
        }
    }

    /// Sends the command once. Returns whether its outcome is known now.
    async fn send(&self, id: &str, payload: &Payload, channel: Channel, wait: bool) -> bool {
        self.ledger.send(id, payload);
        let sent = match channel {
            Channel::Gateway(gateway) => self.send_http(id, payload, &self.gateways[gateway], wait).await,
            Channel::Nats { conditional } => self.send_nats(id, payload, wait, conditional).await,
        };
        // Without an answer the outcome stays unknown.
        let Ok(Some(answer)) = sent else { return false };
        self.ledger.answered(id, payload, &answer);
        !matches!(answer, Answer::Http(202 | 503, _))
    }

    async fn send_http(
        &self,
        id: &str,
        payload: &Payload,
        gateway: &str,
        wait: bool,
    ) -> anyhow::Result<Option<Answer>> {
        // The data is sent byte by byte: another spelling would be another command.
        let body = format!("{{\"id\":{},\"data\":{}}}", json!(id), payload.data);
        let wait = if wait { WAIT.as_secs() } else { 0 };
        let request = self.http.put(format!("{gateway}/payment/{}", payload.kind)).body(body);
        let request =
            request.header("Content-Type", "application/json").header("Prefer", format!("wait={wait}"));
        let answer = request.send().await?;
        let (status, body) = (answer.status().as_u16(), answer.text().await?);
        if status == 202 {
            self.ledger.stored(id, payload);
        }
        let body: Value = serde_json::from_str(&body).context("no JSON")?;
        let stored = status < 400 || body["code"] != "unavailable";
        let answer = Answer::Http(status, body);
        if stored && !answer.is_id_in_use() {
            self.ledger.stored(id, payload);
        }
        Ok(Some(answer))
    }

    async fn send_nats(
        &self,
        id: &str,
        payload: &Payload,
        wait: bool,
        conditional: bool,
    ) -> anyhow::Result<Option<Answer>> {
        let mut headers = HeaderMap::new();
        if conditional {
            headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
            headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", format!("command.*.{id}"));
        }
        let attributes =
            [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/crash"), ("ce-type", payload.kind)];
        attributes.iter().for_each(|(name, value)| headers.insert(*name, *value));
        let mut outcomes = None;
        if wait {
            let inbox = self.nats.new_inbox();
            headers.insert("Pelton-Reply-To", inbox.as_str());
            outcomes = Some(self.nats.subscribe(inbox).await?);
        }
        let jetstream = jetstream::new(self.nats.clone());
        let subject = format!("command.{}.{id}", payload.place());
        let stored = jetstream.publish_with_headers(subject, headers, payload.data.clone().into()).await?;
        timeout(TIMEOUT, stored).await??;
        self.ledger.stored(id, payload);
        let Some(outcomes) = &mut outcomes else { return Ok(None) };
        let outcome = timeout(WAIT, outcomes.next()).await?.context("the subscription has ended")?;
        Ok(Some(Answer::Nats(serde_json::from_slice(&outcome.payload)?)))
    }
}
