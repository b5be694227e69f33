//! The floor of a stream: up to where everything was handled. Some later messages may be handled, too.

use std::collections::BTreeMap;

use crate::id::Sequence;

/// The floor of one stream, whose messages are read in order.
#[derive(Debug)]
pub(super) struct Floor {
    /// The last message that was read.
    read: Sequence,
    /// The messages that are not handled yet, with the number of instances that still have to handle them.
    open: BTreeMap<Sequence, usize>,
}

impl Floor {
    pub(super) fn new(read: Sequence) -> Self {
        Self { read, open: BTreeMap::new() }
    }

    /// Notes that a message was read, which this many instances have to handle.
    pub(super) fn read(&mut self, sequence: Sequence, instances: usize) {
        self.read = sequence;
        if instances > 0 {
            self.open.insert(sequence, instances);
        }
    }

    /// Notes that one instance has handled a message.
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

    /// The place up to which every message was handled.
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
