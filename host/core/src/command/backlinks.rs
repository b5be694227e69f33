//! The sequences of an entity's earlier events, carried by every message of the entity.
//!
//! With them a cold load needs two round trips however large the stream is: the entity's last message, then the listed
//! sequences in parallel. The list is bounded; older events are found through the list of the oldest event listed.
//!
//! The header reads `<count>;<places>`: how many events the entity has before this message, and where the latest of
//! them lie, oldest first, separated by commas. A place is a sequence, or `-<n>` for the n-th message before this one in
//! the stream: an atomic batch lies together, but the sequences of its messages are not known before it is stored.

use std::fmt;

use crate::id::Sequence;

/// The header that carries them.
pub const BACKLINKS: &str = "Pelton-Backlinks";

/// The most places that one message lists. Beyond that a load follows the chain, one round trip per this many events.
pub const MAX_LISTED: usize = 48;

/// The events of an entity before some point, as far as they are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlinks {
    count: u64,
    stored: Vec<Sequence>,
    /// How far before the message that carries this the events of its own batch lie: falling.
    in_batch: Vec<u32>,
}

/// Why a header is not a list of backlinks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {BACKLINKS} has the value {0:?}, which is not a list of backlinks")]
pub struct BacklinksError(String);

impl Backlinks {
    /// After one more event, stored at this sequence.
    pub fn push(&mut self, sequence: Sequence) {
        debug_assert!(self.in_batch.is_empty(), "the backlinks of a message that is not stored have no end");
        if self.stored.len() == MAX_LISTED {
            self.stored.remove(0);
        }
        self.stored.push(sequence);
        self.count += 1;
    }

    /// The sequence of the latest event, unless it is of a batch that is not stored yet.
    #[must_use]
    pub fn last(&self) -> Option<Sequence> {
        self.stored.last().copied().filter(|_| self.in_batch.is_empty())
    }

    /// The backlinks of a message in a batch that follows these events. `places` says how far before it the events of
    /// the batch lie, the earliest first.
    #[must_use]
    pub fn in_batch(&self, places: impl ExactSizeIterator<Item = u32>) -> Self {
        let in_batch_count = places.len();
        let in_batch: Vec<u32> = places.skip(in_batch_count.saturating_sub(MAX_LISTED)).collect();
        let from = (self.stored.len() + in_batch.len()).saturating_sub(MAX_LISTED);
        let stored = self.stored[from.min(self.stored.len())..].to_vec();
        Self { count: self.count + in_batch_count as u64, stored, in_batch }
    }

    /// How many events the entity has before the message that carries this.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The listed sequences, oldest first, given where the message that carries this lies.
    #[must_use]
    pub fn resolve(&self, carrier: Sequence) -> Vec<Sequence> {
        let in_batch = self.in_batch.iter().map(|back| Sequence(carrier.0.saturating_sub(u64::from(*back))));
        self.stored.iter().copied().chain(in_batch).collect()
    }

    /// Reads the header's value.
    pub fn parse(text: &str) -> Result<Self, BacklinksError> {
        Self::read(text).ok_or_else(|| BacklinksError(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let (count, places) = text.split_once(';')?;
        let mut links = Self { count: count.parse().ok()?, ..Self::default() };
        for place in places.split(',').filter(|_| !places.is_empty()) {
            match place.strip_prefix('-') {
                Some(back) => links.in_batch.push(back.parse().ok()?),
                None if links.in_batch.is_empty() => links.stored.push(Sequence(place.parse().ok()?)),
                None => return None,
            }
        }
        let listed = links.stored.len() + links.in_batch.len();
        let in_order = links.stored.is_sorted_by(|a, b| a < b) && links.in_batch.is_sorted_by(|a, b| a > b);
        let real = !links.stored.contains(&Sequence::NONE) && !links.in_batch.contains(&0);
        let whole = listed as u64 == links.count.min(MAX_LISTED as u64);
        (in_order && real && whole).then_some(links)
    }
}

impl fmt::Display for Backlinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.count)?;
        let mut comma = "";
        for sequence in &self.stored {
            write!(f, "{comma}{sequence}")?;
            comma = ",";
        }
        for back in &self.in_batch {
            write!(f, "{comma}-{back}")?;
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_listed_and_all_are_counted() {
        let mut links = Backlinks::default();
        assert_eq!(links.to_string(), "0;");
        for sequence in 1..=60 {
            links.push(Sequence(sequence * 10));
        }
        assert_eq!(links.count(), 60);
        let listed = links.resolve(Sequence(1000));
        assert_eq!((listed.len(), listed[0], listed[47]), (48, Sequence(130), Sequence(600)));
        assert_eq!(Backlinks::parse(&links.to_string()).unwrap(), links);
    }

    #[test]
    fn messages_of_one_batch_point_at_each_other_without_knowing_their_sequences() {
        let mut links = Backlinks::default();
        links.push(Sequence(7));
        // The batch holds an event, a mark, an event, and then this message.
        let fourth = links.in_batch([3, 1].into_iter());
        assert_eq!((fourth.to_string(), fourth.count(), fourth.last()), ("3;7,-3,-1".to_owned(), 3, None));
        let read = Backlinks::parse("3;7,-3,-1").unwrap();
        assert_eq!(read, fourth);
        assert_eq!(read.resolve(Sequence(30)), [Sequence(7), Sequence(27), Sequence(29)]);
    }

    #[test]
    fn a_long_batch_lists_its_latest() {
        let mut links = Backlinks::default();
        (1..=40).for_each(|sequence| links.push(Sequence(sequence)));
        for (before, stored) in [(10, 38), (48, 0), (400, 0)] {
            let last = links.in_batch((1..before + 1).rev());
            assert_eq!((last.count(), last.stored.len()), (40 + u64::from(before), stored));
            assert_eq!(Backlinks::parse(&last.to_string()), Ok(last));
        }
    }

    #[test]
    fn what_is_no_list_of_backlinks_is_refused() {
        for text in [
            "", "1", "1;", "x;1", "1;0", "2;5,4", "2;5", "1;-x", "1;1,", "1;-0", "2;-1,-2", "2;-1,5", "1;--1",
        ] {
            assert!(Backlinks::parse(text).is_err(), "{text:?}");
        }
    }
}
