//! Points in time, as in the contract.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp as Instant;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in JSON and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Now, by the clock of this machine.
    #[must_use]
    pub fn now() -> Self {
        Self::from_nanoseconds(Instant::now().as_nanosecond())
    }

    /// The time that has passed since then, by the clock of this machine; zero for a time in the future.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Result<Self, String> {
        let instant: Instant = text.parse().map_err(|e| format!("{text:?} is not an RFC 3339 time: {e}"))?;
        Ok(Self::from_nanoseconds(instant.as_nanosecond()))
    }

    /// Converts a time. One before 1970 or after 2554 becomes the nearest that the type holds.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: i128) -> Self {
        Self(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        // Every u64 of nanoseconds lies within what jiff can hold (year 9999).
        let instant = Instant::from_nanosecond(i128::from(time.0)).unwrap_or(Instant::MAX);
        DateTimePrinter::new().timestamp_to_string(&instant)
    }
}
