//! Views: values under keys, and how far they have come.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::contract::MAX_KEY_BYTES;
use crate::id::Sequence;
use crate::text::excerpt;

/// One value of a view. No value means that there is none under this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// The key as the plugin gave it.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A key of a view: 1 to [`MAX_KEY_BYTES`] bytes of any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewKey(String);

impl ViewKey {
    /// Checks the length. The error says what is wrong with the key.
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

/// The most bytes that the keys of parked events may take in a checkpoint, which is one message: some 13,000 keys of 30
/// bytes. With everything else it fits what a server takes by default, 1 MiB.
pub const MAX_PARKED_BYTES: usize = 512 * 1024;

/// How far a view has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last event that the view has taken in, or set aside.
    pub position: Sequence,
    /// Keys with an event that could not be applied, and the first event that they lack: that one and all that follow
    /// are set aside. Whatever a key has taken in lies before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked: BTreeMap<String, Sequence>,
    /// What guards the next commit; 0 where there is no checkpoint yet. Not part of the stored value.
    #[serde(skip)]
    pub revision: u64,
}

impl Checkpoint {
    /// Has these keys wait from an event on, unless they do already. None: with them, those that wait would take more
    /// than [`MAX_PARKED_BYTES`].
    #[must_use]
    pub fn with_parked(&self, keys: &[String], first: Sequence) -> Option<Self> {
        let mut next = self.clone();
        for key in keys {
            next.parked.entry(key.clone()).or_insert(first);
        }
        let fits = next.parked.len() == self.parked.len() || next.parked_bytes() <= MAX_PARKED_BYTES;
        fits.then_some(next)
    }

    /// How many bytes the keys of parked events take where it is stored.
    #[must_use]
    pub fn parked_bytes(&self) -> usize {
        serde_json::to_vec(&self.parked).map_or(usize::MAX, |json| json.len())
    }
}
