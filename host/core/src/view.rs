//! Views: values under keys, and how far they have come.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Sequence;

/// The longest key in bytes, before escaping.
pub const MAX_KEY_BYTES: usize = 256;

/// One value of a view. No value means that there is none under this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// The key as the plugin gave it.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A key that a NATS key-value bucket can hold, made from any text of 1 to [`MAX_KEY_BYTES`] bytes and back.
///
/// Letters, digits, `-`, `_` and `/` stand for themselves, and `.` where it is alone and inside; every other byte is
/// written as `=` and two hexadecimal digits. Keys of a bucket match `[-/_=.a-zA-Z0-9]+` and neither begin nor end
/// with a dot (NATS ADR-8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewKey(String);

impl ViewKey {
    /// Escapes a key.
    pub fn new(key: &str) -> Result<Self, String> {
        use fmt::Write;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("the key {key:?} has {} bytes; 1 to {MAX_KEY_BYTES} are allowed", key.len()));
        }
        let mut escaped = String::with_capacity(key.len());
        for (at, &byte) in key.as_bytes().iter().enumerate() {
            let lone_inner_dot =
                byte == b'.' && at > 0 && at + 1 < key.len() && key.as_bytes()[at - 1] != b'.';
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/') || lone_inner_dot {
                escaped.push(char::from(byte));
            } else {
                let _ = write!(escaped, "={byte:02X}");
            }
        }
        Ok(Self(escaped))
    }

    /// The key that was escaped, if this is one.
    #[must_use]
    pub fn unescape(escaped: &str) -> Option<String> {
        let mut bytes = Vec::with_capacity(escaped.len());
        let mut rest = escaped.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'=' {
                let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        String::from_utf8(bytes).ok()
    }

    /// As the bucket holds it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_comes_back_and_fits_a_bucket(key in ".{1,60}") {
            let escaped = ViewKey::new(&key).unwrap();
            prop_assert!(escaped.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-/_=.".contains(&b)));
            prop_assert!(!escaped.as_str().starts_with('.') && !escaped.as_str().ends_with('.') && !escaped.as_str().contains(".."));
            prop_assert_eq!(ViewKey::unescape(escaped.as_str()), Some(key));
        }
    }

    #[test]
    fn plain_keys_stay_readable() {
        assert_eq!(ViewKey::new("1.2022-12-12").unwrap().as_str(), "1.2022-12-12");
        assert_eq!(ViewKey::new("a b").unwrap().as_str(), "a=20b");
        assert_eq!(ViewKey::new("..").unwrap().as_str(), "=2E=2E");
        assert!(ViewKey::new("").is_err());
    }
}
