//! Events that share a sequence: the parts that an upcaster makes of one stored event.
//!
//! What a plugin makes of events may hold their sequences. So numberings are compared: some in which every event has
//! a sequence of its own, and one in which they come in pairs. Where the first lead to the same but for the
//! numbers, the last has to as well.

use pelton_core::id::Sequence;
use pelton_core::message::RecordedEvent;

/// Far from any number that something else means.
const FIRST: u64 = 7_310_041;
const SECOND: u64 = 8_420_059;
const PAIRS: u64 = 9_530_071;

/// A numbering.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbering {
    /// Each has its own.
    Own,
    /// Each has its own, another one, this far from the one before.
    Other(u64),
    /// Two share one.
    Pairs,
}

impl Numbering {
    fn sequence(self, at: usize) -> u64 {
        let at = at as u64;
        match self {
            Self::Own => FIRST + at,
            Self::Other(gap) => SECOND + gap + at * gap,
            Self::Pairs => PAIRS + at / 2,
        }
    }

    /// The events with these numbers.
    pub(super) fn of(self, events: &[RecordedEvent]) -> Vec<RecordedEvent> {
        let mut events = events.to_vec();
        for (at, event) in events.iter_mut().enumerate() {
            event.sequence = Sequence(self.sequence(at));
            event.part = if matches!(self, Self::Pairs) { u32::from(at % 2 == 1) } else { 0 };
        }
        events
    }

    /// A text in which the numbers of the first numbering stand, with these instead.
    fn in_place_of_own(self, text: &str, count: usize) -> String {
        (0..count).fold(text.to_owned(), |text, at| {
            text.replace(&Self::Own.sequence(at).to_string(), &self.sequence(at).to_string())
        })
    }
}

/// Whether the parts of an event are taken for one event: how that shows. `make` says what comes of events, as text.
/// `None`: nothing can be said, or all is well; the flag tells which.
pub(super) fn differ(
    events: &[RecordedEvent],
    make: impl Fn(&[RecordedEvent]) -> Option<String>,
) -> Result<bool, (String, String)> {
    let made = |numbering: Numbering| make(&numbering.of(events));
    let Some(own) = made(Numbering::Own) else { return Ok(false) };
    for gap in [1, 2, 3] {
        let other = Numbering::Other(gap);
        // It makes something else of numbers than to show them.
        if made(other) != Some(other.in_place_of_own(&own, events.len())) {
            return Ok(false);
        }
    }
    let pairs = made(Numbering::Pairs).unwrap_or_else(|| "a failure".to_owned());
    let expected = Numbering::Pairs.in_place_of_own(&own, events.len());
    if pairs == expected { Ok(true) } else { Err((expected, pairs)) }
}
