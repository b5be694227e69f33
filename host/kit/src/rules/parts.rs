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
/// The part of every second event, where it has one.
const PART: u32 = 61_700_041;

/// Which sequences and parts events get.
#[derive(Debug, Clone, Copy)]
enum Numbering {
    /// Each event has its own sequence.
    Own,
    /// Each event has its own, from another range, with this gap between two.
    Other(u64),
    /// Each event has its own, and every second one is a later part.
    Later,
    /// Two events share one, as parts of one stored event.
    Pairs,
}

impl Numbering {
    fn sequence(self, at: usize) -> u64 {
        let at = at as u64;
        match self {
            Self::Own | Self::Later => FIRST + at,
            Self::Other(gap) => SECOND + gap + at * gap,
            Self::Pairs => PAIRS + at / 2,
        }
    }

    /// The events with these numbers. What is made of one stored event has its id.
    fn of(self, events: &[RecordedEvent]) -> Vec<RecordedEvent> {
        let mut events = events.to_vec();
        for (at, event) in events.iter_mut().enumerate() {
            let has_part = matches!(self, Self::Later | Self::Pairs) && at % 2 == 1;
            event.sequence = Sequence(self.sequence(at));
            event.part = if has_part { PART } else { 0 };
            event.event.id = format!("event-{}:0", self.sequence(at));
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

/// The text as if every part were the first: the id of an input has no part then.
fn without_parts(text: &str) -> String {
    text.replace(&format!(".{PART}"), "").replace(&PART.to_string(), "0")
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
    for numbering in [Numbering::Later, Numbering::Pairs] {
        let got = made(numbering).map_or_else(|| "a failure".to_owned(), |text| without_parts(&text));
        let expected = numbering.in_place_of_own(&own, events.len());
        if got != expected {
            return Err((expected, got));
        }
    }
    Ok(true)
}
