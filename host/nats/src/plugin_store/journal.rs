//! The history of a plugin in the audit stream: what was pushed, activated, refused, rolled back and removed, by whom.
//!
//! Entries are kept as long as outcomes.

use pelton_core::id::{Name, Sequence};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::activation::{Cause, PluginVersion};
use super::{PluginStore, StoreError, away, decode, encode};
use crate::subjects::{self, AUDIT};
use crate::wire;

/// The number of entries that are read at a time.
const PAGE_ENTRIES: usize = 1000;

/// What one step of the gate found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The step's name.
    pub step: String,
    /// Whether the version may run, as far as this step goes.
    pub passed: bool,
    /// What was found.
    pub found: String,
}

/// Something that was done to a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// A component was pushed.
    Pushed {
        /// Its digest.
        component: String,
        /// Its version.
        version: String,
    },
    /// The plugin runs another version.
    Switched {
        /// The version.
        to: PluginVersion,
        /// Why the plugin was switched.
        cause: Cause,
        /// The revision of the record.
        revision: Sequence,
        /// What the gate found.
        gate: Vec<Verdict>,
    },
    /// A version was not activated.
    Refused {
        /// The version.
        version: PluginVersion,
        /// What the gate found.
        gate: Vec<Verdict>,
    },
    /// A component was removed.
    Removed {
        /// Its digest.
        component: String,
        /// Its version.
        version: String,
    },
}

/// An event in the history of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The plugin.
    pub plugin: Name,
    /// The time, by the writer's clock.
    pub at: Timestamp,
    /// The operator or host that did it.
    pub by: String,
    /// What was done.
    #[serde(flatten)]
    pub act: Act,
}

impl PluginStore {
    /// Adds an entry to the history.
    pub async fn note(&self, plugin: &Name, by: &str, act: Act) -> Result<(), StoreError> {
        let entry = Entry { plugin: plugin.clone(), at: Timestamp::now(), by: by.to_owned(), act };
        // A switch is noted once, even if several processes note it.
        let unique = match &entry.act {
            Act::Switched { revision, .. } => format!("switched-{revision}"),
            _ => format!("{:016x}", rand::random::<u64>()),
        };
        let subject = subjects::plugin_entry(plugin, &unique);
        match wire::publish(&self.nats, &subject, wire::expecting(0), encode(&entry)?.into()).await {
            Ok(_) | Err(wire::PublishError::WrongSequence(_)) => Ok(()),
            Err(error) => Err(away("noting what was done to a plugin", &error).into()),
        }
    }

    /// The history of a plugin, in order.
    pub async fn history(&self, plugin: &Name) -> Result<Vec<Entry>, Unavailable> {
        let filter = subjects::plugin_entries(plugin);
        let (mut entries, mut next) = (Vec::new(), Some(Sequence(1)));
        while let Some(from) = next {
            let page = wire::page(&self.nats, AUDIT, &filter, from, PAGE_ENTRIES, self.replicated).await?;
            next = page.next();
            entries.extend(page.messages.iter().map(decode).collect::<Result<Vec<Entry>, _>>()?);
        }
        Ok(entries)
    }
}
