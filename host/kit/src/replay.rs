//! Replays a recording. Each command is decided again on the recorded state, so that a difference counts once and does
//! not affect later commands. Events are folded, and reacted to, once more.

mod handler;
mod projection;
mod saga;

use std::fmt::Write;
use std::time::{Duration, Instant};

use pelton_core::message::RecordedEvent;
use pelton_wasm::{Activation, LoadedPlugin, Plugins};
use serde_json::{Value, json};

use crate::guest::{Handler, Projection, Saga};
use crate::meter::Meter;
use crate::recording::{Recorded, Recording};
use crate::run::Untestable;

/// The most differences that are listed; all are counted.
const MAX_TOLD: usize = 20;

/// A component that has to decide, fold or react as it was recorded.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The sandbox.
    pub sandbox: &'a Plugins,
    /// The component's name in reports.
    pub name: String,
    /// The component's bytes.
    pub component: Vec<u8>,
    /// The bytes of the version to compare it with. If `None`, a handler is compared with the recording, and of
    /// projections and sagas only failures are listed.
    pub against: Option<Vec<u8>>,
    /// The limits and settings that the component will run with.
    pub activation: Activation,
}

/// The result of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many comparisons were made: of commands, of events or keys of a view, and of reactions.
    pub tried: usize,
    /// How many of them came out the same.
    pub same: usize,
    /// The differences that are listed.
    pub differences: Vec<Difference>,
    /// How many differences there are.
    pub differing: usize,
    /// Ends without a command to decide again: the recording does not have it, or the host rejected it.
    pub without_command: usize,
    /// Comparisons that say nothing: the version to compare with fails, or does not decide as recorded either.
    pub not_comparable: usize,
    /// Commands that had failed and are decided now.
    pub decided_now: usize,
    /// How long it took.
    pub took: Duration,
}

/// A result that differs.
#[derive(Debug)]
pub struct Difference {
    /// The place: an entity with the sequence in the stream, the sequence alone, or a key.
    pub place: String,
    /// The input or the value that was compared.
    pub what: String,
    /// The recorded result, or that of the version to compare with.
    pub expected: String,
    /// The component's result.
    pub got: String,
}

impl Replay<'_> {
    /// Replays a recording.
    ///
    /// # Errors
    ///
    /// A component is not a plugin.
    pub async fn run(&self, recording: &Recording) -> Result<Replayed, Untestable> {
        let start = Instant::now();
        let plugin = self.sandbox.load(&self.name, self.component.clone(), self.activation.clone()).await?;
        let against = match &self.against {
            Some(bytes) => {
                let name = format!("{} (against)", self.name);
                Some(self.sandbox.load(&name, bytes.clone(), self.activation.clone()).await?)
            }
            None => None,
        };
        let meter = Meter::default();
        let mut replayed = Replayed::default();
        if let Some(new) = plugin.handler() {
            let old = against.as_ref().and_then(LoadedPlugin::handler).map(|old| Handler::new(old, &meter));
            handler::replay(&Handler::new(new, &meter), old.as_ref(), recording, &mut replayed);
        }
        if let Some(new) = plugin.projection() {
            let old = against.as_ref().and_then(LoadedPlugin::projection);
            let old = old.map(|old| Projection::new(old, &meter));
            projection::replay(&Projection::new(new, &meter), old.as_ref(), recording, &mut replayed);
        }
        if let Some(new) = plugin.saga() {
            let old = against.as_ref().and_then(LoadedPlugin::saga).map(|old| Saga::new(old, &meter));
            saga::replay(&Saga::new(new, &meter), old.as_ref(), recording, &mut replayed);
        }
        replayed.took = start.elapsed();
        Ok(replayed)
    }
}

/// The recorded events, in order.
fn events(recording: &Recording) -> impl Iterator<Item = &RecordedEvent> {
    recording.entries.iter().filter_map(|entry| match &entry.what {
        Recorded::Event(event) => Some(&**event),
        Recorded::Mark(_) => None,
    })
}

impl Replayed {
    fn same(&mut self) {
        self.tried += 1;
        self.same += 1;
    }

    fn differs(&mut self, difference: impl FnOnce() -> Difference) {
        self.tried += 1;
        self.differing += 1;
        if self.differences.len() < MAX_TOLD {
            self.differences.push(difference());
        }
    }

    /// Whether everything that could be compared came out the same.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differing == 0
    }

    /// The text for a terminal: the differences, then the counts.
    #[must_use]
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for Difference { place, what, expected, got } in &self.differences {
            let _ = writeln!(text, "DIFF {place} {what}\n  expected {expected}\n  got      {got}");
        }
        if self.differing > self.differences.len() {
            let _ = writeln!(text, "and {} more", self.differing - self.differences.len());
        }
        let mut parts = vec![format!("{} of {} the same", self.same, self.tried)];
        let mut count = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        count(self.differing, "different");
        count(self.not_comparable, "not comparable");
        count(self.without_command, "without their command");
        count(self.decided_now, "had failed and are decided now");
        let _ = writeln!(text, "{}, {:.1} s", parts.join(", "), self.took.as_secs_f64());
        text
    }

    /// The result as JSON, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let differences = self.differences.iter().map(|Difference { place, what, expected, got }| {
            json!({ "place": place, "what": what, "expected": expected, "got": got })
        });
        json!({
            "passed": self.passed(),
            "tried": self.tried,
            "same": self.same,
            "different": self.differing,
            "notComparable": self.not_comparable,
            "withoutCommand": self.without_command,
            "decidedNow": self.decided_now,
            "differences": differences.collect::<Vec<_>>(),
        })
    }
}
