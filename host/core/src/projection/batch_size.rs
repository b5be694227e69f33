//! The number of events that a projection gets in one call.

use std::time::Duration;

/// A longer call leads to a smaller batch. Well below the time limit of a call, which is 500 ms by default.
const LONG_CALL: Duration = Duration::from_millis(100);

/// The number shrinks when a call takes too long or too much memory, so that the flow does not repeat such a call. It
/// grows again afterwards.
#[derive(Debug)]
pub(super) struct BatchSize {
    events: usize,
    max_events: usize,
}

impl BatchSize {
    pub(super) fn new(max_events: usize) -> Self {
        Self { events: max_events, max_events }
    }

    /// The most events of the next batch, at least one.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Notes the duration of a call with this many events.
    pub(super) fn took(&mut self, events: usize, duration: Duration) {
        if duration > LONG_CALL {
            self.halve(events);
        } else if events >= self.events {
            self.events = (self.events * 2).min(self.max_events);
        }
    }

    /// Halves the batch size after this many events were too many.
    pub(super) fn halve(&mut self, events: usize) {
        self.events = self.events.min(events / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_given_in_smaller_pieces_that_grow_again() {
        let (quick, slow) = (Duration::from_millis(1), LONG_CALL * 2);
        let mut batch_size = BatchSize::new(1000);
        batch_size.took(1000, slow);
        assert_eq!(batch_size.events(), 500);
        batch_size.took(20, quick);
        assert_eq!(batch_size.events(), 500, "a small batch says nothing of a large one");
        batch_size.took(500, quick);
        assert_eq!(batch_size.events(), 1000);
        batch_size.took(1000, quick);
        assert_eq!(batch_size.events(), 1000);
        batch_size.halve(3);
        batch_size.halve(1);
        assert_eq!(batch_size.events(), 1);
        batch_size.took(1, quick);
        assert_eq!(batch_size.events(), 2);
    }
}
