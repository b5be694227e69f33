//! Up to where everything of a stream was handled, while later messages may be, too.

use std::collections::BTreeMap;

use crate::id::Sequence;

/// The messages of one stream that were read, in order.
#[derive(Debug)]
pub(super) struct Floor {
    /// The last that was read.
    read: Sequence,
    /// Those that are not handled, with the number of instances that have still to.
    open: BTreeMap<Sequence, usize>,
}

impl Floor {
    pub(super) fn new(read: Sequence) -> Self {
        Self { read, open: BTreeMap::new() }
    }

    /// A message was read that so many instances have to handle.
    pub(super) fn read(&mut self, sequence: Sequence, instances: usize) {
        self.read = sequence;
        if instances > 0 {
            self.open.insert(sequence, instances);
        }
    }

    /// One instance has handled it.
    pub(super) fn handled(&mut self, sequence: Sequence) {
        if let Some(left) = self.open.get_mut(&sequence) {
            *left -= 1;
            if *left == 0 {
                self.open.remove(&sequence);
            }
        }
    }

    /// The last message that was read.
    pub(super) fn last(&self) -> Sequence {
        self.read
    }

    /// Up to here, every message was handled.
    pub(super) fn get(&self) -> Sequence {
        self.open.keys().next().map_or(self.read, |first| Sequence(first.0 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_past_a_message_once_every_instance_has_handled_it() {
        let mut floor = Floor::new(Sequence(10));
        floor.read(Sequence(12), 2);
        floor.read(Sequence(15), 1);
        floor.read(Sequence(19), 0);
        assert_eq!(floor.get(), Sequence(11));
        floor.handled(Sequence(15));
        floor.handled(Sequence(12));
        assert_eq!(floor.get(), Sequence(11));
        floor.handled(Sequence(12));
        assert_eq!((floor.get(), floor.last()), (Sequence(19), Sequence(19)));
    }
}
