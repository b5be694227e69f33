//! Follows the switches of plugins.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt;
use pelton_core::id::{Name, Sequence};
use tokio::time::{Interval, MissedTickBehavior};

use super::activation::Activation;
use super::{PluginStore, StoreError};
use crate::subjects;

/// The interval at which the records are read even if no message says that they changed: messages can get lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The switches of some plugins, without delay. The last switch of each plugin is not missed, but earlier ones may be.
pub struct Following {
    store: PluginStore,
    known: BTreeMap<Name, Sequence>,
    switches: Subscriber,
    look: Interval,
}

impl PluginStore {
    /// Follows the switches after these revisions.
    ///
    /// # Errors
    ///
    /// There is no connection.
    pub async fn follow(&self, known: BTreeMap<Name, Sequence>) -> Result<Following, StoreError> {
        // A write to the bucket is a message, which every subscriber to its subject gets.
        let switches = self.nats.client().subscribe(subjects::activations()).await;
        let switches = switches.map_err(|error| super::away("following the plugin store", &error))?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Following { store: self.clone(), known, switches, look })
    }
}

impl Following {
    /// The next switch, whenever it comes. A store that is away is asked again. May be dropped and called again.
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
                            // The next look finds the others.
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
