//! What the host holds for one instance: whose it is, what it may use, what it has used and said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use pelton_core::plugin::{FaultKind, PluginFault};
use wasmtime::UpdateDeadline;

use crate::call_log::CallLog;
use crate::limits::{Limits, Meter};

/// So many of a plugin's calls are made beside the others after one that went on for two ticks of the epoch: each hands
/// everything else that its thread has to do to another thread first, which is dear.
const CALLS_BESIDE: u32 = 1_000;

/// Which plugin a sandbox runs, shared by all of them.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The plugin's name in the configuration.
    pub(crate) name: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) limits: Limits,
    /// How many of the next calls are made beside the others.
    calls_beside: AtomicU32,
}

impl Origin {
    pub(crate) fn new(name: String, digest: String, limits: Limits) -> Self {
        Self { name, digest, limits, calls_beside: AtomicU32::new(0) }
    }

    /// Whether the next call is made beside everything else on its thread: the plugin's calls have taken long.
    pub(crate) fn takes_call_beside(&self) -> bool {
        let one_less = |calls: u32| calls.checked_sub(1);
        self.calls_beside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    pub(crate) fn fault(&self, kind: FaultKind, what: String) -> PluginFault {
        let (plugin, digest) = (self.name.clone(), self.digest.clone());
        PluginFault { plugin, digest, kind, what, backtrace: Vec::new(), log: Vec::new() }
    }
}

/// What the host holds for one instance.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) origin: Arc<Origin>,
    pub(crate) meter: Meter,
    pub(crate) log: CallLog,
    /// When the guest first saw the epoch advance in the call in hand. Nearly all calls are over before: no clock is read.
    first_tick: Option<Instant>,
}

impl Guest {
    pub(crate) fn new(origin: Arc<Origin>) -> Self {
        let meter = Meter::new(&origin.limits);
        Self { origin, meter, log: CallLog::default(), first_tick: None }
    }

    /// A new call begins: what the last one used and said is forgotten.
    pub(crate) fn begin_call(&mut self) {
        self.first_tick = None;
        self.log.clear();
        self.meter.forget_refused();
    }

    /// The guest sees that the epoch has advanced.
    pub(crate) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        match self.first_tick {
            None => self.first_tick = Some(Instant::now()),
            Some(first) => {
                // Long is what goes on after a tick until the next, while others wait for its thread. What the clock on
                // the wall says does not tell: a short call takes long on a thread that waits for a processor.
                self.origin.calls_beside.store(CALLS_BESIDE, Ordering::Relaxed);
                if first.elapsed() >= self.origin.limits.call_time {
                    return Err(OutOfTime.into());
                }
            }
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// The guest computed past its deadline; it stops where it is.
#[derive(Debug, thiserror::Error)]
#[error("out of time")]
pub(crate) struct OutOfTime;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_is_long_that_goes_on_for_two_ticks() {
        let limits = Limits { call_time: Duration::ZERO, ..Limits::default() };
        let origin = Arc::new(Origin::new("plugin".to_owned(), "sha256:0".to_owned(), limits));
        let mut guest = Guest::new(origin);
        assert!(guest.tick().is_ok(), "its time only begins to count");
        assert!(!guest.origin.takes_call_beside(), "its thread may have waited for a processor");
        assert!(guest.tick().err().is_some_and(|error| error.is::<OutOfTime>()));
        for call in 0..CALLS_BESIDE {
            assert!(guest.origin.takes_call_beside(), "call {call} after the long one");
        }
        assert!(!guest.origin.takes_call_beside());
    }
}
