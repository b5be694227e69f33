//! Which host gets the commands of a handler: the server gives them to one client at a time, the pinned one, and to another
//! once that one is silent. Source: NATS ADR-42.
//!
//! So the commands of an entity keep their order over all hosts, and the entities that a host keeps alive are of use.
//! The promises do not depend on it: every end of a command is a conditional write, whoever decides it.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::connection::Nats;
use crate::wire;

/// The group of the clients of which one is pinned.
pub(crate) const GROUP: &str = "host";
/// After this time without a request the pinned client counts as silent.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
/// How often the pinned client says that it is there. Two of three signs may get lost.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// The header with the id of the pinned client, which the server invents.
pub(super) const ID: &str = "Nats-Pin-Id";

/// This client's id while it is pinned. Dropped, it ends the signs that it is there.
pub(super) struct Pin {
    id: watch::Sender<Option<String>>,
    signs: JoinHandle<()>,
}

impl Pin {
    /// The client of this consumer. It is not pinned yet.
    pub(super) fn new(nats: &Nats, stream: &str, consumer: &str) -> Self {
        let (id, pinned) = watch::channel(None);
        let subject = next_message(stream, consumer);
        let signs = tokio::spawn(give_signs(nats.clone(), subject, pinned));
        Self { id, signs }
    }

    pub(super) fn id(&self) -> Option<String> {
        self.id.borrow().clone()
    }

    /// The server gave this client a message with this id.
    pub(super) fn given(&self, id: &str) {
        self.id.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(id);
            if is_new {
                *known = Some(id.to_owned());
            }
            is_new
        });
    }

    /// Another client is pinned, or none.
    pub(super) fn lost(&self) {
        self.id.send_replace(None);
    }

    /// Lets another client take over at once.
    pub(super) async fn give_up(&self, nats: &Nats, stream: &str, consumer: &str) {
        if self.id.send_replace(None).is_none() {
            return;
        }
        let subject = format!("$JS.API.CONSUMER.UNPIN.{stream}.{consumer}");
        let doing = format!("letting another host have consumer {consumer}");
        let request = json!({ "group": GROUP }).to_string();
        match wire::api::<serde::de::IgnoredAny>(nats, &subject, request.into(), &doing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("{doing}: {error}; it takes over after {TIMEOUT:?}"),
            Err(away) => tracing::debug!("{away}; another host takes over after {TIMEOUT:?}"),
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.signs.abort();
    }
}

/// Says that the pinned client is there, also while it has so much in hand that it asks for nothing: by requests that
/// nothing fits. Their answers say nothing, but without somebody who hears them the server would keep the requests.
async fn give_signs(nats: Nats, subject: String, mut pinned: watch::Receiver<Option<String>>) {
    let inbox = nats.client().new_inbox();
    let Ok(mut answers) = nats.client().subscribe(inbox.clone()).await else { return };
    let mut every = tokio::time::interval(SIGN_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            answer = answers.next() => if answer.is_none() { return },
            _ = every.tick() => {
                let Some(id) = pinned.borrow_and_update().clone() else { continue };
                let sign = json!({ "batch": 1, "no_wait": true, "max_bytes": 1, "group": GROUP, "id": id });
                let (subject, sign) = (subject.clone(), sign.to_string().into());
                if let Err(error) = nats.client().publish_with_reply(subject, inbox.clone(), sign).await {
                    tracing::debug!("saying that this host is there: {error}");
                }
            }
        }
    }
}

/// Where a consumer is asked for messages.
pub(super) fn next_message(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}
