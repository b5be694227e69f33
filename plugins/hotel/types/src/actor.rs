//! The author of an action.

use std::fmt::{self, Display};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Client;

/// The longest name, in bytes.
const MAX_BYTES: usize = 64;

/// The author of an action, for people: `client 1`, `manager`, `housekeeping`. 1 to 64 bytes without control
/// characters.
///
/// The sender states the name; nothing here proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor(String);

impl Actor {
    /// A client.
    #[must_use]
    pub fn client(client: &Client) -> Self {
        Self(format!("client {}", client.id))
    }

    /// The manager, the default where the sender names no author.
    #[must_use]
    pub fn manager() -> Self {
        Self("manager".to_owned())
    }

    /// The saga that orders cleanings for booked rooms.
    #[must_use]
    pub fn housekeeping() -> Self {
        Self("housekeeping".to_owned())
    }
}

impl Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if (1..=MAX_BYTES).contains(&name.len()) && !name.chars().any(char::is_control) {
            Ok(Self(name))
        } else {
            Err(D::Error::custom(format_args!("a name has 1 to {MAX_BYTES} bytes and no control characters")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        for json in [r#""eve""#, r#""client 1""#, &format!("\"{}\"", "x".repeat(64))] {
            assert!(serde_json::from_str::<Actor>(json).is_ok(), "{json}");
        }
        for json in [r#""""#, r#""a\u0000""#, &format!("\"{}\"", "x".repeat(65)), "1"] {
            assert!(serde_json::from_str::<Actor>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn every_client_has_a_name() {
        let longest = crate::Id::from_text(&"x".repeat(36)).expect("it is an id");
        let json = serde_json::to_string(&Actor::client(&Client::new(longest))).expect("it is written");
        assert!(serde_json::from_str::<Actor>(&json).is_ok());
    }
}
