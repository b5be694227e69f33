//! Events that share a sequence: the parts that an upcaster makes of one stored event.
//!
//! A plugin's results may hold the sequences of events. So numberings are compared: some in which each event has a
//! sequence of its own, and one in which two events share one. If the results of the first differ in nothing but the
//! numbers, neither may that of the last.

use pelton_core::id::Sequence;
use pelton_core::message::RecordedEvent;

/// Numbers that are unlikely to mean something else.
const FIRST: u64 = 7_310_041;
const SECOND: u64 = 8_420_059;
const PAIRS: u64 = 9_530_071;

/// Which sequences events get.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbering {
    /// Each event has its own.
    Own,
    /// Each event has its own, from another range, with this gap between two.
    Other(u64),
    /// Two events share one.
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

    /// The text with the numbers of [`Numbering::Own`] replaced by those of this numbering.
    fn in_place_of_own(self, text: &str, count: usize) -> String {
        (0..count).fold(text.to_owned(), |text, at| {
            text.replace(&Self::Own.sequence(at).to_string(), &self.sequence(at).to_string())
        })
    }
}

/// Whether the plugin treats each part of an event as an event; `false` if that cannot be told. `make` gives the
/// plugin's result for events, as text. An error has the expected text and the one that the parts lead to.
pub(super) fn differ(
    events: &[RecordedEvent],
    make: impl Fn(&[RecordedEvent]) -> Option<String>,
) -> Result<bool, (String, String)> {
    let made = |numbering: Numbering| make(&numbering.of(events));
    let Some(own) = made(Numbering::Own) else { return Ok(false) };
    for gap in [1, 2, 3] {
        let other = Numbering::Other(gap);
        // The plugin does more with the numbers than to show them.
        if made(other) != Some(other.in_place_of_own(&own, events.len())) {
            return Ok(false);
        }
    }
    let pairs = made(Numbering::Pairs).unwrap_or_else(|| "a failure".to_owned());
    let expected = Numbering::Pairs.in_place_of_own(&own, events.len());
    if pairs == expected { Ok(true) } else { Err((expected, pairs)) }
}
