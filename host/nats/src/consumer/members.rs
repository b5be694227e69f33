//! Which host should get the commands of a partition: of the hosts that are alive, the one with the highest hash of its
//! id and the partition. So all hosts agree without asking each other, and a host that comes or goes moves only its
//! share. Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (rendezvous hashing).
//!
//! Hosts say every second that they are there. Where they disagree for a while, the server's pin decides who gets the commands (see
//! [`super::pin`]), and the promises depend on neither.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use pelton_core::id::Name;
use pelton_core::message::Fingerprint;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::pin;
use crate::connection::Nats;

/// Where hosts say that they are there.
const SUBJECT: &str = "pelton.members";
/// How often they do. Two of three signs may get lost.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// After this time without a sign a host counts as gone: as long as the server keeps its pin.
const SILENT_AFTER: Duration = pin::TIMEOUT;

/// The consumers that a host reads.
type Consumers = BTreeMap<String, Fitness>;

/// How well a host is made for a consumer. The fitter goes before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Fitness {
    /// Whether it has the version of the plugin that it should have.
    is_fit: bool,
    /// How many command types it knows: one with an older configuration knows fewer.
    commands: usize,
}

/// What a host says of itself. One without consumers is leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sign {
    host: String,
    consumers: Consumers,
}

/// The hosts that are alive, this one included.
#[derive(Debug, Clone)]
pub struct Members(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    host: String,
    /// What this host reads, by consumer: the handler, and how many command types it takes.
    own: Mutex<BTreeMap<String, (Name, usize)>>,
    alive: watch::Sender<BTreeMap<String, Consumers>>,
}

impl Members {
    /// This host, under an id that no other has.
    #[must_use]
    pub fn new(host: String) -> Self {
        let alive = watch::Sender::new(BTreeMap::new());
        Self(Arc::new(Shared { host, own: Mutex::default(), alive }))
    }

    /// Says of this host that it reads a consumer, from the next sign on. `commands`: how many command types it takes.
    #[must_use]
    pub fn assignment(&self, handler: &Name, consumer: &str, commands: usize) -> Assignment {
        let mut own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(consumer.to_owned(), (handler.clone(), commands));
        let mut alive = self.0.alive.subscribe();
        alive.mark_changed();
        Assignment { host: self.0.host.clone(), consumer: consumer.to_owned(), alive, is_ours: false }
    }

    /// Gives signs and hears those of others, until it is stopped. `is_fit`: whether a handler has the version of its plugin
    /// that it should have.
    pub async fn run(self, nats: Nats, stop: CancellationToken, is_fit: impl Fn(&Name) -> bool + Send) {
        let mut signs = match nats.client().subscribe(SUBJECT).await {
            Ok(signs) => signs,
            Err(error) => {
                tracing::error!("this host does not hear of others, and acts as if there were none: {error}");
                self.0.alive.send_modify(|alive| {
                    alive.insert(self.0.host.clone(), self.sign(&is_fit).consumers);
                });
                return stop.cancelled().await;
            }
        };
        let mut heard: BTreeMap<String, Instant> = BTreeMap::new();
        let mut every = tokio::time::interval(SIGN_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // After a pause of this host, those that gave signs meanwhile are not taken for gone.
                biased;
                () = stop.cancelled() => break,
                sign = signs.next() => {
                    let Some(sign) = sign else { return stop.cancelled().await };
                    let Ok(sign) = serde_json::from_slice::<Sign>(&sign.payload) else { continue };
                    if sign.host == self.0.host {
                        continue;
                    }
                    let is_new = heard.insert(sign.host.clone(), Instant::now()).is_none();
                    self.heard(sign);
                    if is_new {
                        // So that a new host knows the others at once.
                        self.give(&nats, &self.sign(&is_fit)).await;
                    }
                }
                _ = every.tick() => {
                    let own = self.sign(&is_fit);
                    heard.retain(|_, at| at.elapsed() < SILENT_AFTER);
                    self.0.alive.send_if_modified(|alive| {
                        let before = alive.len();
                        alive.retain(|host, _| *host == own.host || heard.contains_key(host));
                        let is_new = alive.get(&own.host) != Some(&own.consumers);
                        alive.insert(own.host.clone(), own.consumers.clone());
                        is_new || alive.len() != before
                    });
                    self.give(&nats, &own).await;
                }
            }
        }
        self.give(&nats, &Sign { host: self.0.host.clone(), consumers: Consumers::new() }).await;
    }

    fn sign(&self, is_fit: impl Fn(&Name) -> bool) -> Sign {
        let own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        let consumers = own.iter().map(|(consumer, (handler, commands))| {
            (consumer.clone(), Fitness { is_fit: is_fit(handler), commands: *commands })
        });
        Sign { host: self.0.host.clone(), consumers: consumers.collect() }
    }

    fn heard(&self, Sign { host, consumers }: Sign) {
        self.0.alive.send_if_modified(|alive| {
            if consumers.is_empty() {
                return alive.remove(&host).is_some();
            }
            let is_new = alive.get(&host) != Some(&consumers);
            alive.insert(host, consumers);
            is_new
        });
    }

    async fn give(&self, nats: &Nats, sign: &Sign) {
        let Ok(payload) = serde_json::to_vec(sign) else { return };
        if let Err(error) = nats.client().publish(SUBJECT, payload.into()).await {
            tracing::debug!("saying that this host is there: {error}");
        }
    }
}

/// Whether this host should read a consumer.
#[derive(Debug, Clone)]
pub struct Assignment {
    host: String,
    consumer: String,
    alive: watch::Receiver<BTreeMap<String, Consumers>>,
    is_ours: bool,
}

impl Assignment {
    /// The consumer's name on the server.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Whether it should now, as far as this host knows.
    pub fn is_ours(&mut self) -> bool {
        if self.alive.has_changed().unwrap_or(false) {
            self.is_ours = owner(&self.alive.borrow_and_update(), &self.consumer) == Some(&self.host);
        }
        self.is_ours
    }

    /// Hosts have come or gone since [`Assignment::is_ours`] was asked.
    pub(super) async fn changed(&self) {
        let mut next = self.alive.clone();
        if next.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Of the hosts that read this consumer, one of the fittest.
fn owner<'a>(alive: &'a BTreeMap<String, Consumers>, consumer: &str) -> Option<&'a String> {
    let readers = alive.iter().filter_map(|(host, consumers)| Some((*consumers.get(consumer)?, host)));
    let rank = |(fitness, host): &(Fitness, &String)| {
        (*fitness, Fingerprint::of(&[host.as_bytes(), consumer.as_bytes()]).0)
    };
    readers.max_by_key(rank).map(|(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(hosts: &[(&str, bool)], consumers: usize) -> BTreeMap<String, Consumers> {
        let of = |is_fit| {
            let fitness = Fitness { is_fit, commands: 2 };
            (0..consumers).map(|n| (format!("booking@{n}of{consumers}"), fitness)).collect()
        };
        hosts.iter().map(|(host, fit)| ((*host).to_owned(), of(*fit))).collect()
    }

    fn owners(alive: &BTreeMap<String, Consumers>, consumers: usize) -> Vec<Option<String>> {
        (0..consumers).map(|n| owner(alive, &format!("booking@{n}of{consumers}")).cloned()).collect()
    }

    #[test]
    fn a_host_that_goes_moves_only_what_it_had() {
        let (three, two) =
            (alive(&[("a", true), ("b", true), ("c", true)], 64), alive(&[("a", true), ("b", true)], 64));
        let (before, after) = (owners(&three, 64), owners(&two, 64));
        for host in ["a", "b", "c"] {
            let share = before.iter().filter(|owner| owner.as_deref() == Some(host)).count();
            assert!((8..40).contains(&share), "{host} has {share} of 64");
        }
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || before.as_deref() == Some("c"), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_host_without_the_right_version_gets_what_nobody_else_can_have() {
        let mixed = alive(&[("a", false), ("b", true), ("c", false)], 16);
        assert!(owners(&mixed, 16).iter().all(|owner| owner.as_deref() == Some("b")));
        let none_fits = owners(&alive(&[("a", false), ("c", false)], 16), 16);
        assert!(none_fits.iter().all(Option::is_some));
        assert_eq!(owner(&mixed, "other"), None);
        // In a rolling deploy, who knows the new command type as well.
        let mut older = alive(&[("a", true), ("b", true), ("c", true)], 16);
        older.get_mut("b").unwrap().values_mut().for_each(|fitness| fitness.commands = 3);
        assert!(owners(&older, 16).iter().all(|owner| owner.as_deref() == Some("b")));
    }
}
