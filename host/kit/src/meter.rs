//! What calls take: time, and how near they come to a limit of what they may hand over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pelton_core::contract::{
    MAX_COMMANDS_BYTES, MAX_DECISION_BYTES, MAX_INSTANCE_STATE_BYTES, MAX_STATE_BYTES, MAX_VALUE_BYTES,
};
use pelton_core::message::NewEvent;
use pelton_core::projection::view::ViewChange;
use pelton_core::saga::model::Reaction;
use rustix::time::{ClockId, clock_gettime};

/// Measures calls.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Measured>);

#[derive(Debug, Default)]
struct Measured {
    usage: Usage,
    largest: Option<Share>,
}

/// The number of calls, and the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of calls.
    pub calls: u64,
    /// The processor's time for the longest call. Unlike the time on the wall it says nothing of what else the machine does.
    pub longest: Duration,
    /// The function of the longest call.
    pub function: &'static str,
}

/// What one call took of what it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// What was taken.
    pub(crate) what: &'static str,
    pub(crate) bytes: usize,
    pub(crate) limit_bytes: usize,
}

impl Share {
    /// The part of the limit, in percent.
    pub(crate) fn percent(self) -> u128 {
        self.bytes as u128 * 100 / (self.limit_bytes as u128).max(1)
    }
}

impl Meter {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn so_far(&self) -> Usage {
        self.measured().usage
    }

    /// The call that came nearest to what it may hand over.
    pub(crate) fn largest(&self) -> Option<Share> {
        self.measured().largest
    }

    pub(crate) fn time<R>(&self, function: &'static str, call: impl FnOnce() -> R) -> R {
        let start = processor_time();
        let result = call();
        let took = processor_time().saturating_sub(start);
        let usage = &mut self.measured().usage;
        usage.calls += 1;
        if took > usage.longest {
            (usage.longest, usage.function) = (took, function);
        }
        result
    }

    pub(crate) fn decided(&self, events: &[NewEvent]) {
        let bytes = events.iter().map(|event| event.data.len()).sum();
        self.took("the events of a decision", bytes, MAX_DECISION_BYTES);
    }

    pub(crate) fn snapshot(&self, state: &[u8]) {
        self.took("a snapshot", state.len(), MAX_STATE_BYTES);
    }

    pub(crate) fn projected(&self, changes: &[ViewChange]) {
        let values = changes.iter().filter_map(|change| change.value.as_ref());
        let bytes = values.map(bytes::Bytes::len).max().unwrap_or(0);
        self.took("a value of a view", bytes, MAX_VALUE_BYTES);
    }

    pub(crate) fn reacted(&self, reaction: &Reaction) {
        let state = reaction.state.as_ref().map_or(0, Vec::len);
        self.took("the state of an instance", state, MAX_INSTANCE_STATE_BYTES);
        let commands = reaction.commands.iter().map(|command| command.data.len()).sum();
        self.took("the commands of a reaction", commands, MAX_COMMANDS_BYTES);
    }

    fn took(&self, what: &'static str, bytes: usize, limit_bytes: usize) {
        let share = Share { what, bytes, limit_bytes };
        let largest = &mut self.measured().largest;
        if largest.is_none_or(|largest| share.percent() > largest.percent()) {
            *largest = Some(share);
        }
    }
}

/// The time for which a processor has worked for this thread. A call runs on the thread that makes it.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waits_takes_no_time() {
        let meter = Meter::default();
        meter.time("waits", || std::thread::sleep(Duration::from_millis(30)));
        let waited = meter.so_far().longest;
        meter.time("works", || (0..3_000_000_u64).fold(1_u64, |sum, n| std::hint::black_box(sum ^ n)));
        assert_eq!((meter.so_far().function, meter.so_far().calls), ("works", 2), "{waited:?}");
    }

    #[test]
    fn the_call_nearest_to_a_limit_is_kept() {
        let meter = Meter::default();
        meter.snapshot(&vec![0; MAX_STATE_BYTES / 4]);
        let reaction =
            Reaction { state: Some(vec![0; MAX_INSTANCE_STATE_BYTES * 3 / 4]), ..Reaction::default() };
        meter.reacted(&reaction);
        meter.snapshot(&vec![0; MAX_STATE_BYTES / 2]);
        let largest = meter.largest().expect("three calls");
        assert_eq!((largest.what, largest.percent()), ("the state of an instance", 75));
    }
}
