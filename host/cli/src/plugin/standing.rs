//! What a version decided while it ran: it stands after a rollback, so a person looks at it.

use std::time::{Duration, Instant};

use pelton_core::id::{Name, Sequence};
use pelton_nats::plugin_store::activation::Activation;
use pelton_nats::recording::{self, Page};

use super::client::Client;
use crate::run::is_replicated;

/// The most decisions that are listed; all are counted.
const MAX_LISTED: usize = 20;
/// After this time the stream is read no further: a rollback is urgent, and this comes behind it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a version decided.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Commands that ended with events.
    accepted: usize,
    /// Commands that ended without: most of them rejected.
    without_events: usize,
    /// The first of them, one a line.
    listed: Vec<String>,
    /// Where reading stopped, if not at the end.
    stopped_at: Option<Sequence>,
}

impl Standing {
    /// What the version of this activation decided since it was activated.
    pub(super) async fn of(client: &Client, plugin: &Name, activation: &Activation) -> anyhow::Result<Self> {
        let Client { nats, config, .. } = client;
        let (mut standing, until) = (Self::default(), Instant::now() + PATIENCE);
        for handler in config.handlers.values().filter(|handler| handler.plugin == *plugin) {
            let last = recording::last(nats, &handler.stream).await?;
            let mut next = recording::first_since(nats, &handler.stream, activation.at).await?;
            while let Some(from) = next {
                if Instant::now() > until {
                    standing.stopped_at = Some(from);
                    break;
                }
                let page = recording::events(nats, &handler.stream, None, from..=last, is_replicated(config))
                    .await?;
                next = page.next;
                standing.add(&page, &activation.runs.component);
            }
        }
        Ok(standing)
    }

    fn add(&mut self, page: &Page, component: &str) {
        for stored in &page.messages {
            let Some(cause) = &stored.cause else { continue };
            // A decision's other events lie behind its first, whose id ends in 0.
            let is_first =
                stored.is_mark || stored.message.headers.get("ce-id").is_some_and(|id| id.ends_with(":0"));
            if !cause.decided_by.starts_with(component) || !is_first {
                continue;
            }
            match stored.is_mark {
                true => self.without_events += 1,
                false => self.accepted += 1,
            }
            if self.listed.len() < MAX_LISTED {
                self.listed.push(format!(
                    "#{} {}: command {}",
                    stored.message.sequence, stored.message.subject, cause.command
                ));
            }
        }
    }

    /// For people. `None`: it has decided nothing.
    pub(super) fn text(&self) -> Option<String> {
        let all = self.accepted + self.without_events;
        if all == 0 {
            return None;
        }
        let mut text = format!(
            "it decided {} commands with events and {} without, which stand; `pelton why COMMAND` says more",
            self.accepted, self.without_events
        );
        self.listed.iter().for_each(|line| {
            text.push_str("\n  ");
            text.push_str(line);
        });
        if all > self.listed.len() {
            text.push_str(&format!("\n  and {} more", all - self.listed.len()));
        }
        if let Some(at) = self.stopped_at {
            text.push_str(&format!("\n  and perhaps more from message {at} on, which were not read"));
        }
        Some(text)
    }
}
