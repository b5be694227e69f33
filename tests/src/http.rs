//! Requests and answers, as an example states and shows them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{PATIENCE, PAUSE};

/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers beside those that the client library adds.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
}

impl Request {
    /// A request to read something.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET".to_owned(), path: path.into(), headers: Vec::new(), body: None }
    }

    /// A request with JSON.
    #[must_use]
    pub fn put(path: impl Into<String>, body: impl Into<String>) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { method: "PUT".to_owned(), path: path.into(), headers, body: Some(body.into()) }
    }

    /// Sets a header, replacing one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, for example 201.
    pub status: u16,
    /// The headers whose values are text.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The value of the body at a JSON pointer: a text as it is, other values as JSON, and `nothing` if there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> String {
        match self.json().pointer(pointer) {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let body = if self.body.is_empty() { "(no body)" } else { self.body.trim() };
        write!(f, "{} {body}", self.status)
    }
}

/// A client of one gateway.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: String,
}

impl Http {
    /// A client of the gateway at `address`, such as `127.0.0.1:3000`.
    pub fn new(address: &str) -> anyhow::Result<Self> {
        // An address of this machine must not go through a proxy.
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build().context("no HTTP client")?;
        Ok(Self { client, base: format!("http://{address}") })
    }

    /// Sends a request. Fails if there is no answer.
    pub async fn send(&self, request: &Request) -> anyhow::Result<Answer> {
        let Request { method, path, headers, body } = request;
        let method = Method::from_bytes(method.as_bytes())?;
        let mut sent = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            sent = sent.header(name, value);
        }
        if let Some(body) = body {
            sent = sent.body(body.clone());
        }
        let answer = sent.send().await?;
        let text = |value: &reqwest::header::HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers =
            answer.headers().iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
        let (status, headers) = (answer.status().as_u16(), headers.collect());
        Ok(Answer { status, headers, body: answer.text().await? })
    }

    /// Repeats the request until the answer is good, and returns that answer.
    pub async fn until(&self, request: &Request, good: impl Fn(&Answer) -> bool) -> anyhow::Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(request).await;
            match answer {
                Ok(answer) if good(&answer) => return Ok(answer),
                answer if Instant::now() > deadline => {
                    let Request { method, path, .. } = request;
                    bail!(
                        "{method} {path} is not answered as expected after {PATIENCE:?}; the last: {answer:?}"
                    )
                }
                Ok(_) | Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Waits until the gateway is ready.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.until(&Request::get("/readyz"), |answer| answer.status == 200).await.map(drop)
    }
}
