//! A client that needs no HTTP: it publishes a command to NATS and waits for its outcome. `docs/nats.md` quotes it.

use anyhow::Context;
use async_nats::{HeaderMap, jetstream};
use futures::StreamExt;
use serde_json::{Value, json};

/// Lends a book. The id is the command's: called again with it, nothing happens twice, and the outcome is the same.
pub async fn lend(url: &str, id: &str, book: &str, reader: &str) -> anyhow::Result<Value> {
    let client = async_nats::connect(url).await?;
    let inbox = client.new_inbox();
    let mut outcomes = client.subscribe(inbox.clone()).await?;

    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id);
    headers.insert("ce-source", "/front-desk");
    headers.insert("ce-type", "lend-book");
    headers.insert("ce-datacontenttype", "application/json");
    headers.insert("Pelton-Reply-To", inbox.as_str());
    let data = json!({ "book": book, "reader": reader }).to_string();
    let subject = format!("command.lend-book.{id}");
    let stored = jetstream::new(client).publish_with_headers(subject, headers, data.into()).await?;
    // From here on the command is not lost, whatever crashes. No answer means: publish it again.
    stored.await.context("the command was not stored")?;

    let outcome = outcomes.next().await.context("the connection was closed")?;
    Ok(serde_json::from_slice(&outcome.payload)?)
}
