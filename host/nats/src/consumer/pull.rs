//! The commands of a handler's partition from its durable pull consumer, one at a time, until it is stopped.
//!
//! The consumer requests messages in small portions, and the next portion when half of the last has come. So the number
//! of unread messages is bounded, and they do not use up their ack wait. The server sends a heartbeat while it has no
//! message. When the heartbeat fails to come, or the connection was lost, the consumer requests again.
//!
//! Every consumer has a connection of its own, because other clients send its messages: a message with malformed
//! headers makes the client library drop the connection, or panic in its task (async-nats 0.51, a bare carriage return
//! in a value). So this affects only one consumer, which connects again and sets the message aside.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber, jetstream};
use futures::StreamExt;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::id::Name;
use pelton_core::partition::Partition;
use pelton_core::store::Unavailable;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::delivery::PullDelivery;
use super::members::Assignment;
use super::pin::{self, Pin};
use super::takeover::Takeover;
use super::unreadable;
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire::{self, nanoseconds};

/// The lifetime of one pull request at the server.
const EXPIRES: Duration = Duration::from_secs(30);
/// The interval of the server's heartbeats while it has no message.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The time without any message after which the request counts as lost.
const SILENCE: Duration = Duration::from_secs(5);
/// The wait before a request is repeated after the server refused it.
const PAUSE: Duration = Duration::from_millis(250);
/// The wait before the next search for unreadable messages, after one of them could not be set aside. Readable messages
/// go on meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A [`Consumer`] over a durable pull consumer, which [`crate::Topology`] has created.
pub struct PullConsumer {
    /// The host's connection: for settlements, and for everything that comes from the host itself. Every delivered
    /// message holds it, and a copy of it costs a dozen atomic operations.
    nats: Arc<Nats>,
    /// The connection for messages of the consumer only.
    line: Line,
    consumer: String,
    /// The handler that owns the consumer.
    owner: Name,
    /// The most unread messages.
    prefetch: usize,
    /// The number of requested messages that the server may still send.
    asked: usize,
    /// Whether the server may hold a request of this connection.
    has_asked: bool,
    /// When the server last sent something, or was asked.
    heard: Instant,
    stop: CancellationToken,
    /// When to search for unreadable messages: at once after the connection was lost, because one of them may be the
    /// cause.
    look_at: Option<Instant>,
    draining: bool,
    healthy: bool,
    pin: Pin,
    /// The consumer's number of the last delivery to this client, unless it was dropped.
    last: Option<u64>,
    /// After a gap in the deliveries to this client: what may have been left, and the message behind the gap.
    takeover: Option<Takeover>,
    /// Of a consumer that hosts share out among themselves.
    assignment: Option<Assignment>,
}

impl PullConsumer {
    /// The commands of a handler's partition, while no other host gets them. `prefetch` bounds the messages that are fetched and
    /// not yet delivered.
    pub async fn of_partition(
        nats: &Nats,
        handler: &Name,
        partition: Partition,
        prefetch: usize,
    ) -> Result<Self, Unavailable> {
        let consumer = subjects::handler_consumer(handler, partition);
        let line = Line::open(nats, &consumer).await.map_err(|cause| Unavailable {
            doing: format!("opening consumer {consumer} of stream {COMMANDS}"),
            cause,
        })?;
        Ok(Self {
            nats: Arc::new(nats.clone()),
            line,
            pin: Pin::new(nats, COMMANDS, &consumer),
            consumer,
            owner: handler.clone(),
            prefetch: prefetch.max(1),
            asked: 0,
            has_asked: false,
            heard: Instant::now(),
            stop: CancellationToken::new(),
            // An earlier host may have ended because of one.
            look_at: Some(Instant::now()),
            draining: false,
            healthy: true,
            last: None,
            takeover: None,
            assignment: None,
        })
    }

    /// Reads only while this host should, as the hosts share out the partitions.
    pub(super) fn shared_out(self, assignment: Assignment) -> Self {
        Self { assignment: Some(assignment), ..self }
    }

    /// Stops with other consumers.
    pub(super) fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// The consumer's name on the server.
    pub(super) fn name(&self) -> &str {
        &self.consumer
    }

    /// Cancelling it stops the consumer: it fetches nothing more and still delivers what it has fetched. Then
    /// [`Consumer::next`] returns `None`.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    async fn ask(&mut self) {
        if self.asked > self.prefetch / 2 {
            return;
        }
        let batch = self.prefetch - self.asked;
        let mut request = json!({
            "batch": batch,
            "expires": nanoseconds(EXPIRES),
            "idle_heartbeat": nanoseconds(HEARTBEAT),
            "group": pin::GROUP,
        });
        if let Some(id) = self.pin.id() {
            request["id"] = id.into();
        }
        let subject = pin::next_message(COMMANDS, &self.consumer);
        self.has_asked = true;
        match self
            .line
            .nats
            .client()
            .publish_with_reply(subject, self.line.inbox.clone(), request.to_string().into())
            .await
        {
            Ok(()) => {
                self.asked += batch;
                self.heard = Instant::now();
            }
            Err(error) => {
                self.unwell(&error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Opens another connection after this one has ended for good.
    async fn open_again(&mut self) {
        self.asked = 0;
        self.heard = Instant::now();
        self.look_at = Some(Instant::now());
        match Line::open(&self.nats, &self.consumer).await {
            Ok(line) => self.line = line,
            Err(error) => {
                tracing::debug!(consumer = self.consumer, "opening a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Searches for unreadable messages after every loss of the connection. The client library drops the connection
    /// over a message whose headers it cannot read, and such a message would be delivered again and again.
    async fn look_for_unreadable(&mut self) {
        match unreadable::set_aside(&self.nats, COMMANDS, &self.consumer, &self.owner).await {
            Ok(()) => self.look_at = None,
            Err(away) => {
                self.unwell(&away.to_string());
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// A message of the consumer. `None` if it is the server's answer to a request.
    async fn sort(&mut self, message: Message) -> Option<PullDelivery> {
        let Some(status) = status(&message) else {
            self.asked = self.asked.saturating_sub(1);
            self.well();
            let (delivery, follows) = self.delivery(message)?;
            if !follows {
                self.takeover = Some(Takeover::before(delivery));
                return None;
            }
            return Some(delivery);
        };
        let what = message.description.clone().unwrap_or_default();
        match status {
            100 => self.well(),
            // The request has expired, or the server has ended it. A header tells how much of it is left.
            404 | 408 => self.asked = self.asked.saturating_sub(undelivered(&message, self.asked)),
            409 if what.to_ascii_lowercase().contains("deleted") => {
                self.asked = 0;
                self.unwell("the consumer was deleted; `pelton run` creates it again when it starts");
                tokio::time::sleep(PAUSE).await;
            }
            423 => {
                self.asked = self.asked.saturating_sub(undelivered(&message, self.asked));
                self.pin.lost();
            }
            409 => {
                self.asked = self.asked.saturating_sub(undelivered(&message, self.asked));
                tokio::time::sleep(PAUSE / 10).await;
            }
            503 => {
                self.asked = 0;
                self.unwell("no server answers for it: the consumer, its stream or JetStream is away");
                tokio::time::sleep(PAUSE).await;
            }
            _ => {
                self.asked = 0;
                self.unwell(&format!("status {status} {what}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
        None
    }

    /// A delivery, and whether it follows the last one. Otherwise others were delivered in between: to another host, or over a
    /// connection that was lost.
    fn delivery(&mut self, message: Message) -> Option<(PullDelivery, bool)> {
        if let Some(id) = message.headers.as_ref().and_then(|headers| headers.get(pin::ID)) {
            self.pin.given(id.as_str());
        }
        let reply = message.reply.clone();
        let message = jetstream::Message { message, context: self.nats.jetstream().clone() };
        match (wire::incoming(&message), reply) {
            (Ok((message, number)), Some(reply)) => {
                let last = self.last.replace(number);
                let follows = last.is_some_and(|last| last + 1 == number);
                Some((PullDelivery { nats: self.nats.clone(), message, reply: Some(reply) }, follows))
            }
            (Err(error), _) => {
                tracing::error!(subject = %message.subject, consumer = self.consumer, "a message that is not from the consumer: {error}");
                None
            }
            (Ok(_), None) => None,
        }
    }

    /// Has another host go on at once, with what this one has fetched and passed on to nobody.
    async fn give_up(&mut self) {
        // The server would pin this client again for its requests that still wait.
        if let Err(error) = self.line.nats.close().await {
            tracing::debug!(consumer = self.consumer, "closing a connection: {error}");
        }
        let mut left: Vec<_> = self.takeover.take().map(|takeover| takeover.first).into_iter().collect();
        while let Ok(Some(message)) = tokio::time::timeout(SILENCE, self.line.messages.next()).await {
            if status(&message).is_none() {
                left.extend(self.delivery(message).map(|(delivery, _)| delivery));
            }
        }
        self.last = None;
        for delivery in left {
            delivery.settle(Settlement::RetryAfter(Duration::ZERO)).await;
        }
        self.pin.give_up(&self.nats, COMMANDS, &self.consumer).await;
    }

    /// Lets another host read, until this one should again or is stopped.
    async fn stand_by(&mut self) {
        let has_asked = std::mem::take(&mut self.has_asked);
        if has_asked {
            tracing::info!(consumer = self.consumer, "another host gets the commands");
            self.give_up().await;
        }
        loop {
            let Some(assignment) = &mut self.assignment else { return };
            if assignment.is_ours() {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = assignment.changed() => {}
            }
        }
        tracing::info!(consumer = self.consumer, "this host gets the commands");
        if has_asked {
            self.open_again().await;
        }
    }

    fn unwell(&mut self, why: &str) {
        if self.healthy {
            tracing::warn!(stream = COMMANDS, consumer = self.consumer, "waiting for messages: {why}");
        }
        self.healthy = false;
    }

    fn well(&mut self) {
        if !self.healthy {
            tracing::info!(stream = COMMANDS, consumer = self.consumer, "messages come again");
        }
        self.healthy = true;
    }
}

/// The connection of a consumer.
struct Line {
    nats: Nats,
    inbox: String,
    messages: Subscriber,
    connects: watch::Receiver<u64>,
}

impl Line {
    async fn open(host: &Nats, consumer: &str) -> Result<Self, String> {
        let nats = host.another(&format!("consumer {consumer}")).await.map_err(|e| e.to_string())?;
        let inbox = nats.client().new_inbox();
        let messages = nats.client().subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
        let connects = nats.connects();
        Ok(Self { nats, inbox, messages, connects })
    }
}

/// The status of the server's answer to a request. A stored message may have any first line, so a message that can be
/// acknowledged has no status.
fn status(message: &Message) -> Option<u16> {
    let is_message = message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK."));
    message.status.filter(|_| !is_message).map(|status| status.as_u16())
}

/// The number of requested messages that will not come after the server ended a request.
fn undelivered(message: &Message, all: usize) -> usize {
    let header = message.headers.as_ref().and_then(|h| h.get("Nats-Pending-Messages"));
    header.and_then(|value| value.as_str().parse().ok()).unwrap_or(all)
}

impl Consumer for PullConsumer {
    type Delivery = PullDelivery;

    async fn next(&mut self) -> Option<PullDelivery> {
        loop {
            if let Some(assignment) = &mut self.assignment
                && !self.draining
                && !assignment.is_ours()
            {
                Box::pin(self.stand_by()).await;
                if self.stop.is_cancelled() {
                    return None;
                }
                continue;
            }
            if self.draining {
                // Ends once the server has answered the unsubscription; messages in transit have come by then.
                match tokio::time::timeout(SILENCE, self.line.messages.next()).await {
                    Ok(Some(message)) if status(&message).is_none() => match self.delivery(message) {
                        Some((delivery, true)) => return Some(delivery),
                        // Others have to go before it and before all that come behind it.
                        Some((delivery, false)) => {
                            self.takeover = Some(Takeover::before(delivery));
                            self.give_up().await;
                            return None;
                        }
                        None => {}
                    },
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => {
                        self.give_up().await;
                        return None;
                    }
                }
                continue;
            }
            if let Some(takeover) = &mut self.takeover {
                if self.stop.is_cancelled() {
                    // Nothing may go before the rest, so nothing goes.
                    self.give_up().await;
                    return None;
                }
                match takeover.next(&self.nats, &self.consumer).await {
                    Ok(Some(message)) => {
                        return Some(PullDelivery { nats: self.nats.clone(), message, reply: None });
                    }
                    Ok(None) => {
                        if let Some(takeover) = self.takeover.take() {
                            return Some(takeover.first);
                        }
                    }
                    Err(away) => {
                        self.unwell(&away.to_string());
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                continue;
            }
            if self.look_at.is_some_and(|at| at <= Instant::now()) {
                Box::pin(self.look_for_unreadable()).await;
            }
            self.ask().await;
            let shared_out_anew = async {
                match &self.assignment {
                    Some(assignment) => assignment.changed().await,
                    None => std::future::pending().await,
                }
            };
            let silent_at = self.heard + SILENCE;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    if self.line.messages.drain().await.is_err() {
                        return None;
                    }
                    self.draining = true;
                }
                message = self.line.messages.next() => match message {
                    Some(message) => {
                        self.heard = Instant::now();
                        if let Some(delivery) = self.sort(message).await {
                            return Some(delivery);
                        }
                    }
                    None => {
                        self.unwell("the connection has ended; another one is opened");
                        Box::pin(self.open_again()).await;
                    }
                },
                // The first connect is no loss of requests. One that was repeated without need, and named no pin, had
                // the server pin this client again after it was gone.
                Ok(()) = self.line.connects.changed() => if *self.line.connects.borrow_and_update() > 1 {
                    self.asked = 0;
                    self.look_at = Some(Instant::now());
                },
                () = shared_out_anew => {}
                () = tokio::time::sleep_until(silent_at) => {
                    self.unwell("the server has fallen silent");
                    self.asked = 0;
                }
            }
        }
    }
}
