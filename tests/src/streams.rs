//! The contents of a stream, read with the NATS client alone, without Pelton.

use anyhow::Context;
use async_nats::jetstream::{self, stream::Info};
use async_nats::{Client, HeaderMap};
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
    /// When it was stored, in milliseconds since 1970 by the server's clock.
    pub stored_at_ms: i128,
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
            messages.push(Stored {
                sequence,
                subject: message.subject.to_string(),
                headers: message.headers,
                payload: String::from_utf8_lossy(&message.payload).into_owned(),
                stored_at_ms: message.time.unix_timestamp_nanos() / 1_000_000,
            });
        }
        Ok(messages)
    }
}
