//! The versions of nats-server that Pelton works with.

use std::fmt;

/// The oldest nats-server that Pelton was tested with. A server before 2.12 ignores the headers of an atomic batch, and
/// stores each of its messages by itself.
pub const MIN_VERSION: Version = Version(2, 15, 1);

/// A version of nats-server, compared as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Parses `2.15.1`, also with a suffix such as `-RC.2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['-', '+']).next()?.split('.').map(|part| part.trim().parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }

    /// Checks the version that a server reports. The error states the reason and the remedy.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        match Self::parse(text) {
            Some(version) if version >= MIN_VERSION => Ok(()),
            _ => Err(format!(
                "nats-server there is version {text:?}, and {MIN_VERSION} or later is needed: an older one does not store \
                 a decision's events all or none; update it"
            )),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(Version::parse("2.15.1"), Some(Version(2, 15, 1)));
        assert_eq!(Version::parse("2.100.0-RC.2"), Some(Version(2, 100, 0)));
        assert!(Version::check("2.100.0").is_ok() && Version::check("2.15.1").is_ok());
        for old in ["2.9.25", "2.15.0", "2.11.4", "", "something"] {
            assert!(Version::check(old).unwrap_err().contains("2.15.1 or later"), "{old}");
        }
    }
}
