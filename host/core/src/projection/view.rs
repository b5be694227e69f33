//! Views: values under keys, and a position.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::contract::MAX_KEY_BYTES;
use crate::id::Sequence;
use crate::text::excerpt;

/// One value of a view. No value means that there is none under this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// The key as the plugin wrote it.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A key of a view: 1 to [`MAX_KEY_BYTES`] bytes of any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewKey(String);

impl ViewKey {
    /// Checks the length. The error states what is wrong with the key.
    pub fn new(key: &str) -> Result<Self, String> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let shown = excerpt(key);
            return Err(format!(
                "the key {shown:?} has {} bytes; 1 to {MAX_KEY_BYTES} are allowed",
                key.len()
            ));
        }
        Ok(Self(key.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The most bytes of the keys of parked events in a checkpoint, which is one message: some 13,000 keys of 30 bytes.
/// With everything else they fit the server's default `max_payload` of 1 MiB.
pub const MAX_PARKED_BYTES: usize = 512 * 1024;

/// The position of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last event that the view has applied or set aside.
    pub position: Sequence,
    /// The keys with an event that could not be applied, and the first event that each lacks: that event and all later
    /// ones are set aside. Every event that a key has applied lies before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked: BTreeMap<String, Sequence>,
    /// The revision for the next commit; 0 if there is no checkpoint yet. Not part of the stored value.
    #[serde(skip)]
    pub revision: u64,
}

impl Checkpoint {
    /// Parks these keys from `first` on; a key that is parked already keeps its event. `None` if the parked keys would
    /// exceed [`MAX_PARKED_BYTES`].
    #[must_use]
    pub fn with_parked(&self, keys: &[String], first: Sequence) -> Option<Self> {
        let mut next = self.clone();
        for key in keys {
            next.parked.entry(key.clone()).or_insert(first);
        }
        let fits = next.parked.len() == self.parked.len() || next.parked_bytes() <= MAX_PARKED_BYTES;
        fits.then_some(next)
    }

    /// The bytes of the parked keys in the stored checkpoint.
    #[must_use]
    pub fn parked_bytes(&self) -> usize {
        serde_json::to_vec(&self.parked).map_or(usize::MAX, |json| json.len())
    }
}
