//! The sequences of an entity's earlier events, carried by every event.
//!
//! With them a cold load needs two round trips however large the stream is: the entity's last message, then the listed
//! sequences in parallel. The list is bounded; older events are found through the list of the oldest event listed.
//!
//! The header reads `<count>;<sequences>` or `<count>;<sequences>+<n>`: how many events the entity has before this
//! one, the latest of their sequences, oldest first, and how many more lie directly before this one in the stream
//! because one atomic batch holds them (their sequences are not known before they are stored).

use std::fmt;

use crate::id::Sequence;

/// The header that carries it.
pub const HISTORY: &str = "Pelton-Backlinks";

/// The most sequences that one event lists. Beyond that a load follows the chain, one round trip per this many events.
pub const MAX_LISTED: usize = 48;

/// The events of an entity before some point, as far as they are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlinks {
    count: u64,
    latest: Vec<Sequence>,
    adjacent: u32,
}

/// Why a header is no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {HISTORY} has the value {0:?}, which is no history")]
pub struct BacklinksError(String);

impl Backlinks {
    /// After one more event, stored at this sequence.
    pub fn push(&mut self, sequence: Sequence) {
        debug_assert_eq!(self.adjacent, 0, "a history in the making is not stored");
        if self.latest.len() == MAX_LISTED {
            self.latest.remove(0);
        }
        self.latest.push(sequence);
        self.count += 1;
    }

    /// The sequence of the latest event, unless it is of a batch that is not stored yet.
    #[must_use]
    pub fn last(&self) -> Option<Sequence> {
        self.latest.last().copied().filter(|_| self.adjacent == 0)
    }

    /// The history of the event that follows `n` events of its own batch, which follow this history.
    #[must_use]
    pub fn after_adjacent(&self, n: u32) -> Self {
        Self { adjacent: self.adjacent + n, ..self.clone() }
    }

    /// How many events the entity has before the event that carries this.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count + u64::from(self.adjacent)
    }

    /// The listed sequences, oldest first, given where the event that carries this lies.
    #[must_use]
    pub fn resolve(&self, carrier: Sequence) -> Vec<Sequence> {
        let adjacent =
            (1..=u64::from(self.adjacent)).rev().map(|back| Sequence(carrier.0.saturating_sub(back)));
        self.latest.iter().copied().chain(adjacent).collect()
    }

    /// Reads the header's value.
    pub fn parse(text: &str) -> Result<Self, BacklinksError> {
        Self::read(text).ok_or_else(|| BacklinksError(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let (count, rest) = text.split_once(';')?;
        let (sequences, adjacent) = rest.split_once('+').unwrap_or((rest, "0"));
        let latest: Vec<Sequence> = match sequences {
            "" => Vec::new(),
            _ => sequences.split(',').map(|s| s.parse().ok().map(Sequence)).collect::<Option<_>>()?,
        };
        let history = Self { count: count.parse().ok()?, latest, adjacent: adjacent.parse().ok()? };
        let grows = history.latest.is_sorted_by(|a, b| a < b);
        let listed = history.latest.len() as u64;
        let whole = listed == history.count.min(MAX_LISTED as u64);
        (grows && whole && !history.latest.contains(&Sequence::NONE)).then_some(history)
    }
}

impl fmt::Display for Backlinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.count)?;
        for (i, sequence) in self.latest.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            sequence.fmt(f)?;
        }
        if self.adjacent > 0 {
            write!(f, "+{}", self.adjacent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_lists_the_latest_and_counts_all() {
        let mut history = Backlinks::default();
        assert_eq!(history.to_string(), "0;");
        for sequence in 1..=60 {
            history.push(Sequence(sequence * 10));
        }
        assert_eq!(history.count(), 60);
        let listed = history.resolve(Sequence(1000));
        assert_eq!((listed.len(), listed[0], listed[47]), (48, Sequence(130), Sequence(600)));
        assert_eq!(Backlinks::parse(&history.to_string()).unwrap(), history);
    }

    #[test]
    fn events_of_one_batch_point_at_each_other_without_knowing_their_sequences() {
        let mut history = Backlinks::default();
        history.push(Sequence(7));
        let third = history.after_adjacent(2);
        assert_eq!(third.to_string(), "1;7+2");
        assert_eq!(
            Backlinks::parse("1;7+2").unwrap().resolve(Sequence(30)),
            [Sequence(7), Sequence(28), Sequence(29)]
        );
        assert_eq!(third.count(), 3);
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in ["", "1", "1;", "x;1", "1;0", "2;5,4", "2;5", "1;1+x", "1;1,"] {
            assert!(Backlinks::parse(text).is_err(), "{text:?}");
        }
    }
}
