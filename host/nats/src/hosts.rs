//! Which hosts run: each answers to whoever asks, and nothing is stored. A host that does not answer does not run, or
//! hangs, or is not connected.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use pelton_core::store::Unavailable;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::connection::Nats;

/// Where hosts are asked.
pub const SUBJECT: &str = "pelton.hosts";
/// How long answers are waited for.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// The most hosts that are listed.
const MAX_HOSTS: usize = 1_000;

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The name of the machine.
    pub machine: String,
    /// The id of the process.
    pub process: u32,
    /// The version of Pelton.
    pub version: String,
    /// Where its gateway listens.
    pub address: String,
    /// When it started.
    pub started_at: String,
    /// The handlers whose commands it gets; it stands by for the others.
    pub handlers: Vec<String>,
    /// The digests of the plugins that it runs, by handler, projection or saga.
    pub plugins: BTreeMap<String, String>,
    /// The plugins that should run another version here, each with the reason why they do not.
    #[serde(default)]
    pub unfit: Vec<String>,
}

/// Answers until it is stopped.
pub async fn answer(nats: Nats, stop: CancellationToken, describe: impl Fn() -> HostStatus + Send) {
    let mut questions = match nats.client().subscribe(SUBJECT).await {
        Ok(questions) => questions,
        Err(error) => {
            tracing::warn!("this host is not listed by `pelton status`: {error}");
            return stop.cancelled().await;
        }
    };
    loop {
        let question = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            question = questions.next() => question,
        };
        let Some(question) = question else { return stop.cancelled().await };
        let Some(reply) = question.reply else { continue };
        match serde_json::to_vec(&describe()) {
            Ok(status) => {
                if let Err(error) = nats.client().publish(reply, status.into()).await {
                    tracing::debug!("answering who asks for hosts: {error}");
                }
            }
            Err(error) => tracing::error!("what this host says of itself: {error}"),
        }
    }
}

/// Asks all hosts, and returns what came within [`PATIENCE`], in order.
///
/// # Errors
///
/// The question cannot be sent.
pub async fn ask(nats: &Nats) -> Result<Vec<HostStatus>, Unavailable> {
    let away = |cause: String| Unavailable { doing: "asking for hosts".to_owned(), cause };
    let inbox = nats.client().new_inbox();
    let answers = nats.client().subscribe(inbox.clone()).await.map_err(|e| away(e.to_string()))?;
    let asked = nats.client().publish_with_reply(SUBJECT, inbox, "".into()).await;
    asked.map_err(|e| away(e.to_string()))?;
    let mut hosts = Vec::new();
    let mut answers = answers.take(MAX_HOSTS);
    let listening = async {
        while let Some(answer) = answers.next().await {
            // That nobody is there is an answer too, without a payload.
            if let Ok(host) = serde_json::from_slice::<HostStatus>(&answer.payload) {
                hosts.push(host);
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, listening).await;
    hosts.sort();
    Ok(hosts)
}
