//! The contents of a stream, read with the NATS client alone, without Pelton.

use anyhow::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{self, stream::Info};
use async_nats::{Client, HeaderMap};
use futures::TryStreamExt;
use pelton_nats::subjects::is_mark;
use serde_json::Value;

/// A message as a stream holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its position.
    pub sequence: u64,
    /// The subject that it was published to.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its payload as text.
    pub payload: String,
}

impl Stored {
    /// A header, as it is stored.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }

    /// The payload as JSON; null if it is not JSON.
    #[must_use]
    pub fn data(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_default()
    }
}

/// Streams of one server.
#[derive(Debug, Clone)]
pub struct Streams {
    jetstream: jetstream::Context,
}

impl From<StreamMessage> for Stored {
    fn from(message: StreamMessage) -> Self {
        Self {
            sequence: message.sequence,
            subject: message.subject.to_string(),
            headers: message.headers,
            payload: String::from_utf8_lossy(&message.payload).into_owned(),
        }
    }
}

impl Streams {
    /// The streams of the server at `url`.
    pub async fn at(url: &str) -> anyhow::Result<Self> {
        let client = async_nats::connect(url).await.with_context(|| format!("no NATS server at {url}"))?;
        Ok(Self { jetstream: jetstream::new(client) })
    }

    /// The streams that this context reaches.
    #[must_use]
    pub fn of(jetstream: jetstream::Context) -> Self {
        Self { jetstream }
    }

    /// The connection itself.
    #[must_use]
    pub fn client(&self) -> Client {
        self.jetstream.client()
    }

    /// JetStream itself.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Settings and state of a stream.
    pub async fn info(&self, stream: &str) -> anyhow::Result<Info> {
        let found = self.jetstream.get_stream(stream).await.with_context(|| format!("no stream {stream}"))?;
        Ok(found.cached_info().clone())
    }

    /// How many commands wait to be decided, or are being decided.
    pub async fn commands_waiting(&self) -> anyhow::Result<u64> {
        let log = self.jetstream.get_stream("COMMANDS").await.context("no log of commands")?;
        let consumers: Vec<_> = log.consumers().try_collect().await.context("its consumers")?;
        Ok(consumers.iter().map(|info| info.num_pending + info.num_ack_pending as u64).sum())
    }

    /// The events in a stream, in order, without the marks of commands that ended without events.
    pub async fn events(&self, stream: &str) -> anyhow::Result<Vec<Stored>> {
        let mut events = self.read(stream).await?;
        events.retain(|event| !is_mark(&event.subject));
        Ok(events)
    }

    /// All messages of a stream, in order.
    pub async fn read(&self, stream: &str) -> anyhow::Result<Vec<Stored>> {
        let found = self.jetstream.get_stream(stream).await.with_context(|| format!("no stream {stream}"))?;
        let state = &found.cached_info().state;
        let mut messages = Vec::new();
        if state.messages == 0 {
            return Ok(messages);
        }
        for sequence in state.first_sequence..=state.last_sequence {
            use jetstream::stream::LastRawMessageErrorKind::NoMessageFound;
            let message = match found.get_raw_message(sequence).await {
                Ok(message) => message,
                // A message that a work queue has removed, or that was purged.
                Err(error) if error.kind() == NoMessageFound => continue,
                Err(error) => return Err(error).with_context(|| format!("message {sequence} of {stream}")),
            };
            messages.push(message.into());
        }
        Ok(messages)
    }

    /// The last message of a subject.
    pub async fn last(&self, stream: &str, subject: &str) -> anyhow::Result<Stored> {
        let found = self.jetstream.get_stream(stream).await.with_context(|| format!("no stream {stream}"))?;
        let last = found.get_last_raw_message_by_subject(subject).await;
        Ok(last.with_context(|| format!("no message {subject} in {stream}"))?.into())
    }
}
