//! The events of one stream, in order and without a gap, for a reader that keeps its own position.
//!
//! The feed uses a consumer that lives only as long as the feed is read. It acknowledges nothing, because the reader
//! keeps the position. When the consumer is gone, or may have lost a message, the feed creates another one that starts
//! after the last delivered item.
//!
//! A feed has a connection of its own: a message whose headers cannot be read breaks it (see [`super::unreadable`]).
//! The feed then opens another, reads that message as JSON from the stream's leader, and delivers it as unreadable.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::{self, MessagesError};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use futures::{FutureExt, StreamExt};
use pelton_core::consumer::{EventFeed, FeedItem};
use pelton_core::id::{Name, Sequence};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::unreadable;
use crate::connection::Nats;
use crate::subjects::{is_mark, takes};
use crate::wire;

/// The number of messages that are fetched ahead. Half as many again may be in transit.
const AHEAD_MESSAGES: usize = 4096;
/// The bytes that are fetched ahead, at least two of the largest messages that the server accepts.
const AHEAD_BYTES: usize = 8 * 1024 * 1024;
/// The lifetime of one pull request at the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The interval of the server's heartbeats while it has no message. After twice this time without a word the consumer
/// is recreated.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The time after which the server deletes an unused consumer.
const INACTIVE: Duration = Duration::from_secs(60);
/// The interval at which an idle feed checks whether the connection, and messages with it, were lost.
const CONNECTION_CHECK: Duration = Duration::from_secs(1);
/// The interval at which an idle feed asks the server whether a delivered message never arrived.
const DELIVERY_CHECK: Duration = Duration::from_secs(15);
/// The longest time to create a consumer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// An [`EventFeed`] over a stream of the server.
///
/// [`EventFeed::next`] fails if no consumer can be created. Calling it again tries again and misses nothing.
pub struct StreamFeed {
    /// The host's connection, for requests that cannot break it.
    nats: Nats,
    /// The connection for messages of the stream. `None` until it is needed, and after it was lost.
    line: Option<Nats>,
    stream: Name,
    /// What it delivers; none: everything.
    filters: Vec<String>,
    after: Sequence,
    consumer: Option<Live>,
    /// The position at which the feed last lost its consumer.
    lost_at: Option<Sequence>,
    /// Two consumers in a row were lost at one position: the client library may be unable to read the next message.
    stuck: bool,
    stop: CancellationToken,
}

/// A consumer and the state of its deliveries.
struct Live {
    client: Client,
    messages: pull::Stream,
    consumer: Consumer<pull::Config>,
    /// The number of delivered messages, by the consumer's own count.
    delivered: u64,
    /// The client's number of connects when the consumer was created.
    connects: u64,
    /// When the consumer was last asked for its deliveries.
    checked: Instant,
    /// The consumer's number of deliveries, if it was higher than the number of arrivals.
    missing: Option<u64>,
}

impl StreamFeed {
    /// A feed of the stream of this name, from its first event on. `stop` ends it.
    #[must_use]
    pub fn new(nats: &Nats, stream: Name, stop: CancellationToken) -> Self {
        Self::filtered(nats, stream, Vec::new(), stop)
    }

    /// A feed of the messages that one of these filters takes.
    pub(crate) fn filtered(nats: &Nats, stream: Name, filters: Vec<String>, stop: CancellationToken) -> Self {
        Self {
            filters,
            nats: nats.clone(),
            line: None,
            stream,
            after: Sequence::NONE,
            consumer: None,
            lost_at: None,
            stuck: false,
            stop,
        }
    }

    /// The next message, in order. `None` once the feed is stopped. Cancel safe.
    async fn first(&mut self) -> Result<Option<FeedItem>, Unavailable> {
        let stop = self.stop.clone();
        loop {
            let ready = async {
                if self.stuck {
                    let message = self.next_from_leader().await?;
                    self.stuck = false;
                    return Ok(message);
                }
                if self.consumer.is_none() {
                    let line = match &self.line {
                        Some(line) => line.clone(),
                        None => self.nats.open_another(&format!("feed of {}", self.stream)).await?,
                    };
                    self.line = Some(line.clone());
                    self.consumer = Some(self.open(&line).await?);
                }
                Ok(None)
            };
            let found = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                found = ready => found?,
            };
            if let Some((message, unreadable)) = found {
                match self.take(message, unreadable) {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                }
            }
            let Some(live) = &mut self.consumer else { continue };
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                message = live.next() => message,
            };
            match message {
                Ok(message) => {
                    if let Some(item) = self.take(message, None) {
                        return Ok(Some(item));
                    }
                }
                Err(why) => self.lost(&why),
            }
        }
    }

    /// A message that has arrived already, if there is one.
    fn buffered(&mut self) -> Option<FeedItem> {
        // Without `unconstrained` the runtime would report "pending" after some hundred polls, to be fair to other tasks.
        loop {
            let live = self.consumer.as_mut()?;
            let message = tokio::task::unconstrained(live.messages.next()).now_or_never()?;
            match live.accept(message) {
                Ok(message) => {
                    if let Some(item) = self.take(message, None) {
                        return Some(item);
                    }
                }
                Err(why) => {
                    self.lost(&why);
                    return None;
                }
            }
        }
    }

    /// Moves on to this message. None: it is the mark of a command and no event, or no filter takes it.
    fn take(&mut self, message: Incoming, unreadable: Option<String>) -> Option<FeedItem> {
        self.after = message.sequence;
        let is_taken =
            self.filters.is_empty() || self.filters.iter().any(|filter| takes(filter, &message.subject));
        (is_taken && !is_mark(&message.subject)).then_some(FeedItem { message, unreadable })
    }

    fn lost(&mut self, why: &str) {
        tracing::info!(stream = %self.stream, after = %self.after, "reading on with a new consumer: {why}");
        // The connection may be what broke, and the library does not report it.
        (self.consumer, self.line) = (None, None);
        self.stuck = self.lost_at == Some(self.after);
        self.lost_at = Some(self.after);
    }

    /// The next message, and why it is not an event if its headers are not text.
    ///
    /// The library drops the connection over headers that it cannot read, and takes a message with a status in its
    /// headers for one of the server's own. Read as JSON, such a message does no harm.
    async fn next_from_leader(&self) -> Result<Option<(Incoming, Option<String>)>, Unavailable> {
        let from = Sequence(self.after.0 + 1);
        let Some(raw) = wire::leader_next(&self.nats, self.stream.as_str(), from, ">").await? else {
            return Ok(None);
        };
        let unreadable = unreadable::why_unreadable(&raw.header_block);
        Ok(Some((wire::StoredMessage::from(raw).into_incoming(self.stream.clone()), unreadable)))
    }

    async fn open(&self, line: &Nats) -> Result<Live, Unavailable> {
        let opening = tokio::time::timeout(OPEN_TIMEOUT, self.try_open(line)).await;
        opening.unwrap_or_else(|_| Err(format!("no answer within {OPEN_TIMEOUT:?}"))).map_err(|cause| {
            Unavailable { doing: format!("reading stream {} after {}", self.stream, self.after), cause }
        })
    }

    async fn try_open(&self, line: &Nats) -> Result<Live, String> {
        let client = line.client();
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        let stream = line.jetstream().get_stream(self.stream.as_str()).await.map_err(|e| e.to_string())?;
        let last = stream.cached_info().state.last_sequence;
        if last < self.after.0 {
            return Err(format!(
                "the stream ends at {last}: it lost events that were read before, or was made anew"
            ));
        }
        let config = pull::Config {
            description: Some("a feed of Pelton".to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.after.0 + 1 },
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: INACTIVE,
            num_replicas: 1,
            memory_storage: true,
            filter_subjects: self.filters.clone(),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|e| e.to_string())?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(AHEAD_MESSAGES)
            .max_bytes_per_batch(AHEAD_BYTES.max(2 * client.max_payload()))
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|e| e.to_string())?;
        let client = client.clone();
        Ok(Live {
            client,
            messages,
            consumer,
            delivered: 0,
            connects,
            checked: Instant::now(),
            missing: None,
        })
    }
}

impl Live {
    /// Lets the server delete the consumer now instead of after [`INACTIVE`].
    async fn delete(self) {
        let info = self.consumer.cached_info();
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", info.stream_name, info.name);
        if let Err(error) = self.client.publish(subject, "".into()).await {
            tracing::debug!(consumer = info.name, "a consumer of a feed stays for {INACTIVE:?}: {error}");
        }
    }

    /// The next message, or why this consumer cannot be used any more.
    async fn next(&mut self) -> Result<Incoming, String> {
        let mut check = tokio::time::interval_at(Instant::now() + CONNECTION_CHECK, CONNECTION_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                message = self.messages.next() => return self.accept(message),
                _ = check.tick() => self.check().await?,
            }
        }
    }
    fn accept(
        &mut self,
        message: Option<Result<jetstream::Message, MessagesError>>,
    ) -> Result<Incoming, String> {
        let message = message.ok_or("its messages ended")?.map_err(|e| e.to_string())?;
        let (message, number) = wire::incoming(&message)?;
        if number != self.delivered + 1 {
            return Err(format!("its message {number} came after {}", self.delivered));
        }
        self.delivered = number;
        Ok(message)
    }

    /// Checks whether messages were lost in transit while no later message showed the gap.
    async fn check(&mut self) -> Result<(), String> {
        if self.client.statistics().connects.load(Ordering::Relaxed) != self.connects {
            return Err("the connection was lost meanwhile".to_owned());
        }
        if let Some(missing) = self.missing.take()
            && self.delivered < missing
        {
            return Err(format!("it delivered {missing} messages, of which {} arrived", self.delivered));
        }
        if self.checked.elapsed() >= DELIVERY_CHECK {
            let info = self.consumer.get_info().await.map_err(|e| e.to_string())?;
            self.checked = Instant::now();
            // A message that is still in transit has until the next check to arrive.
            let delivered = info.delivered.consumer_sequence;
            self.missing = (self.delivered < delivered).then_some(delivered);
        }
        Ok(())
    }
}

impl EventFeed for StreamFeed {
    async fn seek(&mut self, after: Sequence) -> Result<(), Unavailable> {
        if self.consumer.is_some() && self.after == after {
            return Ok(());
        }
        if let Some(live) = self.consumer.take() {
            live.delete().await;
        }
        (self.lost_at, self.stuck) = (None, false);
        self.after = after;
        Ok(())
    }

    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<FeedItem>, Unavailable> {
        let Some(first) = self.first().await? else { return Ok(Vec::new()) };
        let mut bytes = first.bytes();
        let mut items = vec![first];
        while items.len() < max
            && bytes < max_bytes
            && let Some(item) = self.buffered()
        {
            bytes += item.bytes();
            items.push(item);
        }
        Ok(items)
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.clone().cancelled_owned()
    }
}
