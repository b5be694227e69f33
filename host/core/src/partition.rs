//! Partitions: the parts into which a handler's entities are divided, so that several hosts decide its commands at once.
//!
//! All commands of an entity are in one partition, and one host at a time gets the commands of a partition.

use std::fmt;
use std::num::NonZeroU16;

use crate::id::SEPARATOR;
use crate::subject::Entity;

/// The most partitions of a handler. Each costs the server a consumer, and every host a connection.
pub const MAX_PARTITIONS: u16 = 64;
const OF: &str = "of";

/// Into how many partitions a handler's entities are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(NonZeroU16);

/// One partition of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    index: u16,
    count: NonZeroU16,
}

impl Partitions {
    /// The handler's entities are not divided.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// This many partitions, from 1 to [`MAX_PARTITIONS`].
    #[must_use]
    pub fn new(count: u16) -> Option<Self> {
        NonZeroU16::new(count).filter(|count| count.get() <= MAX_PARTITIONS).map(Self)
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.0.get())
    }

    /// All of them, in order.
    pub fn all(self) -> impl Iterator<Item = Partition> {
        (0..self.0.get()).map(move |index| Partition { index, count: self.0 })
    }

    /// The partition of an entity: the FNV-1a hash of 32 bits over the entity's subject, modulo their number.
    #[must_use]
    pub fn of(self, entity: &Entity) -> Partition {
        let count = u32::from(self.0.get());
        let index = u16::try_from(fnv1a(entity.prefix().as_bytes()) % count).unwrap_or_default();
        Partition { index, count: self.0 }
    }
}

impl Partition {
    /// The only partition of what is not divided.
    pub const WHOLE: Self = Self { index: 0, count: NonZeroU16::MIN };

    /// The first of them, for what concerns no entity.
    #[must_use]
    pub fn first(of: Partitions) -> Self {
        Self { index: 0, count: of.0 }
    }

    /// Its number, from 0.
    #[must_use]
    pub fn index(self) -> u16 {
        self.index
    }

    /// The partitions that this is one of.
    #[must_use]
    pub fn siblings(self) -> Partitions {
        Partitions(self.count)
    }

    /// This partition's part of what has this name, as one token of a subject: `book-room@3of8`, or the name itself where
    /// nothing is divided.
    #[must_use]
    pub fn of_name(self, name: &str) -> String {
        match self.count.get() {
            1 => name.to_owned(),
            _ => format!("{name}{SEPARATOR}{self}"),
        }
    }

    /// The name and the partition in such a token. `None` for the partition: the token has one that cannot be.
    #[must_use]
    pub fn split(token: &str) -> (&str, Option<Self>) {
        match token.rsplit_once(SEPARATOR) {
            None => (token, Some(Self::WHOLE)),
            Some((name, partition)) => (name, Self::parse(partition)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (index, count) = text.split_once(OF)?;
        let (index, count) = (index.parse().ok()?, Partitions::new(count.parse().ok()?)?);
        let partition = Self { index, count: count.0 };
        // One spelling only: every other is another subject.
        (index < count.0.get() && partition.to_string() == text).then_some(partition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{OF}{}", self.index, self.count)
    }
}

/// Source: Fowler, Noll, Vo, Eastlake, "The FNV Non-Cryptographic Hash Algorithm".
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::subject::EntityTemplate;

    #[test]
    fn the_hash_is_the_published_one() {
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv1a(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn a_token_is_split_as_it_was_made_and_any_other_spelling_is_none() {
        for partition in [1, 2, 64].into_iter().filter_map(Partitions::new).flat_map(Partitions::all) {
            assert_eq!(Partition::split(&partition.of_name("book-room")), ("book-room", Some(partition)));
        }
        for wrong in ["8of8", "0of65", "0of0", "03of8", "+3of8", "3 of8", "3", "of8", ""] {
            assert_eq!(Partition::split(&format!("x@{wrong}")), ("x", None), "{wrong}");
        }
    }

    #[test]
    fn entities_are_spread() {
        let (template, partitions) =
            (EntityTemplate::parse("room.{n}").unwrap(), Partitions::new(8).unwrap());
        let mut counts = [0; 8];
        for n in 0..800 {
            let entity = template.entity(&BTreeMap::from([("n", n.to_string())])).unwrap();
            counts[usize::from(partitions.of(&entity).index)] += 1;
        }
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    }
}
