//! The first phase of a switch: hosts are asked to get ready for a version, and say whether they are.
//!
//! A host answers twice: at once, that it was reached, and then whether it can run the version. So the asking process
//! knows which hosts to wait for. Nothing is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt;
use pelton_core::id::Name;
use pelton_core::store::Unavailable;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Verdict;
use super::activation::PluginVersion;
use crate::connection::Nats;

/// The subject on which hosts are asked.
pub(crate) const SUBJECT: &str = "pelton.prepare";
/// How long hosts have to say that they were reached.
const REACHED_WITHIN: Duration = Duration::from_millis(500);

/// A version to get ready for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The plugin's name in configurations.
    pub plugin: Name,
    /// The version that it would run.
    pub version: PluginVersion,
}

/// How far a host is with getting ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Readiness {
    /// The host was reached, and is getting ready.
    Reached,
    /// It can run the version at once.
    Ready {
        /// How long that took, in milliseconds.
        ms: u64,
        /// The host's findings on the version among the plugins that it runs.
        gate: Vec<Verdict>,
    },
    /// It cannot run it.
    Refused {
        /// The reason.
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    host: String,
    #[serde(flatten)]
    readiness: Readiness,
}

/// Asks all hosts that run the plugin, and waits until each says whether it can run the version, at most this long.
/// Hosts that are still [`Readiness::Reached`] did not finish.
///
/// # Errors
///
/// The question cannot be sent.
pub async fn ask(
    nats: &Nats,
    candidate: &Candidate,
    patience: Duration,
) -> Result<BTreeMap<String, Readiness>, Unavailable> {
    let away = |cause: String| Unavailable { doing: "asking hosts to get ready".to_owned(), cause };
    let question = serde_json::to_vec(candidate).map_err(|e| away(e.to_string()))?;
    let inbox = nats.client().new_inbox();
    let mut answers = nats.client().subscribe(inbox.clone()).await.map_err(|e| away(e.to_string()))?;
    let asked = nats.client().publish_with_reply(SUBJECT, inbox, question.into()).await;
    asked.map_err(|e| away(e.to_string()))?;
    let began = Instant::now();
    let mut hosts = BTreeMap::new();
    loop {
        let waits = hosts.values().any(|readiness| *readiness == Readiness::Reached);
        let until = began + if waits { patience.max(REACHED_WITHIN) } else { REACHED_WITHIN };
        let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await else { return Ok(hosts) };
        // If no host listens, the server answers without a payload.
        if let Ok(Answer { host, readiness }) = serde_json::from_slice(&answer.payload) {
            hosts.insert(host, readiness);
        }
    }
}

/// The questions to a host.
pub struct Questions {
    nats: Nats,
    host: String,
    questions: Subscriber,
}

/// A question, and where its answers go.
pub struct Question {
    nats: Nats,
    host: String,
    reply: async_nats::Subject,
    /// The version to get ready for.
    pub candidate: Candidate,
}

impl Questions {
    /// The questions to the host of this name.
    ///
    /// # Errors
    ///
    /// There is no connection.
    pub async fn to(nats: &Nats, host: String) -> Result<Self, Unavailable> {
        let questions = nats.client().subscribe(SUBJECT).await.map_err(|error| Unavailable {
            doing: "listening for questions to get ready".to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Self { nats: nats.clone(), host, questions })
    }

    /// The next question. Waits for ever once the connection is closed. May be dropped and called again.
    pub async fn next(&mut self) -> Question {
        while let Some(message) = self.questions.next().await {
            let Some(reply) = message.reply else { continue };
            match serde_json::from_slice(&message.payload) {
                Ok(candidate) => {
                    return Question { nats: self.nats.clone(), host: self.host.clone(), reply, candidate };
                }
                Err(error) => tracing::warn!("a question to get ready cannot be read: {error}"),
            }
        }
        std::future::pending().await
    }
}

impl Question {
    /// Answers how far the host is.
    pub async fn answer(&self, readiness: Readiness) {
        let answer = Answer { host: self.host.clone(), readiness };
        let Ok(payload) = serde_json::to_vec(&answer) else { return };
        if let Err(error) = self.nats.client().publish(self.reply.clone(), payload.into()).await {
            tracing::debug!("answering whether this host is ready: {error}");
        }
    }
}
