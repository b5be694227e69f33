//! Reads streams from a given position, many messages at a time.

use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::{self, consumer::DeliverPolicy, consumer::pull::OrderedConfig};
use futures::StreamExt;
use tokio::time::timeout;

use crate::streams::Stored;

/// The longest wait for one message.
const TIMEOUT: Duration = Duration::from_secs(30);

/// All messages from this sequence on, in order.
pub(super) async fn read_from(
    jetstream: &jetstream::Context,
    name: &str,
    first: u64,
) -> anyhow::Result<Vec<Stored>> {
    let stream = jetstream.get_stream(name).await.with_context(|| format!("no stream {name}"))?;
    let state = &stream.cached_info().state;
    let (last, mut read) = (state.last_sequence, Vec::new());
    if state.messages == 0 || last < first {
        return Ok(read);
    }
    let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: first };
    let config = OrderedConfig { deliver_policy, ..OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.with_context(|| format!("no consumer of {name}"))?;
    let mut messages = consumer.messages().await?;
    loop {
        let message = timeout(TIMEOUT, messages.next()).await.with_context(|| format!("{name} is silent"))?;
        let message = message.context("the consumer has ended")??;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        // If the client library recreates a consumer before its first message, it starts at the beginning.
        if sequence < first {
            continue;
        }
        read.push(Stored {
            sequence,
            subject: message.subject.to_string(),
            headers: message.headers.clone().unwrap_or_default(),
            payload: String::from_utf8_lossy(&message.payload).into_owned(),
        });
        if sequence >= last || pending == 0 {
            return Ok(read);
        }
    }
}
