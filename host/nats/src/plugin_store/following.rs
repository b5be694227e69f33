//! What plugins run, as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt;
use pelton_core::id::{Name, Sequence};
use tokio::time::{Interval, MissedTickBehavior};

use super::activation::Activation;
use super::{PluginStore, StoreError};
use crate::subjects;

/// How often the records are looked at although nobody said that they changed: what is said can get lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The switches of some plugins, each told at once, and the last one of each for certain.
pub struct Following {
    store: PluginStore,
    known: BTreeMap<Name, Sequence>,
    switches: Subscriber,
    look: Interval,
}

impl PluginStore {
    /// The switches after these.
    ///
    /// # Errors
    ///
    /// There is no connection.
    pub async fn follow(&self, known: BTreeMap<Name, Sequence>) -> Result<Following, StoreError> {
        // A write to the bucket is a message that everybody can hear who subscribes to its subject.
        let switches = self.nats.client().subscribe(subjects::activations()).await;
        let switches = switches.map_err(|error| super::away("following the plugin store", &error))?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Following { store: self.clone(), known, switches, look })
    }
}

impl Following {
    /// The next switch. Never ends; a store that is away is asked again. May be dropped and called again.
    pub async fn next(&mut self) -> Activation {
        loop {
            tokio::select! {
                _ = self.look.tick() => {}
                heard = self.switches.next() => if heard.is_none() {
                    self.look.tick().await;
                },
            }
            match self.store.activations().await {
                Ok(mut found) => {
                    for (plugin, known) in &mut self.known {
                        let Some(activation) = found.remove(plugin) else { continue };
                        if activation.revision > *known {
                            *known = activation.revision;
                            // The others are found by the next look.
                            self.look.reset_immediately();
                            return activation;
                        }
                    }
                }
                Err(away) => tracing::debug!("this host goes on with the plugins that it has: {away}"),
            }
        }
    }
}
