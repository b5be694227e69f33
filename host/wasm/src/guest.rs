//! The host's state for one instance: its plugin, its limits, its usage, its log, and what it has of WASI.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use pelton_core::plugin::{FaultKind, PluginFault};
use wasmtime::UpdateDeadline;

use crate::call_log::CallLog;
use crate::context::CallContext;
use crate::imports::wasi::Wasi;
use crate::limits::{Limits, Meter};
use crate::room::{Part, Room, Taken};
use crate::settings::{Activation, PluginSettings};
use crate::tier::Tier;

/// After a call that went on for two ticks of the epoch, this many of the plugin's next calls run in `block_in_place`.
/// It is costly, because it first hands everything else on the thread to another thread.
const CALLS_BESIDE: u32 = 1_000;

/// The plugin that a sandbox runs, shared by all of its sandboxes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The plugin's name in the configuration.
    pub(crate) name: String,
    /// What decides: the component's digest, and that of its settings if it has any.
    pub(crate) digest: String,
    /// The digest of the component alone: `sha256:` and 64 hexadecimal digits.
    pub(crate) component: String,
    pub(crate) limits: Limits,
    pub(crate) settings: PluginSettings,
    /// What it may import.
    pub(crate) tier: Tier,
    /// The room of all its sandboxes.
    pub(crate) room: Arc<Part>,
    /// Its entry among the compiled code, locked, so that no process removes it while it runs here.
    pub(crate) entry: OnceLock<Arc<File>>,
    /// The number of next calls that run in `block_in_place`.
    calls_beside: AtomicU32,
}

impl Origin {
    pub(crate) fn new(name: String, component: String, with: Activation, room: &Arc<Room>) -> Self {
        let Activation { limits, settings, tier } = with;
        let room = room.part(limits.total_bytes);
        let digest = settings.with_digest(&component);
        let (entry, calls_beside) = (OnceLock::new(), AtomicU32::new(0));
        Self { name, digest, component, limits, settings, tier, room, entry, calls_beside }
    }

    /// Keeps the entry of its compiled code for as long as it runs.
    pub(crate) fn keep(&self, entry: Option<Arc<File>>) {
        if let Some(entry) = entry {
            let _ = self.entry.set(entry);
        }
    }

    /// Whether the next call runs in `block_in_place`, because the plugin's calls have taken long. Counts the call.
    pub(crate) fn takes_call_beside(&self) -> bool {
        let one_less = |calls: u32| calls.checked_sub(1);
        self.calls_beside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    pub(crate) fn fault(&self, kind: FaultKind, what: String) -> PluginFault {
        let (plugin, digest) = (self.name.clone(), self.digest.clone());
        PluginFault { plugin, digest, kind, shared: false, what, backtrace: Vec::new(), log: Vec::new() }
    }
}

/// What an instance was used for since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Its calls.
    pub(crate) calls: u32,
    /// The bytes of the payloads that were passed in.
    pub(crate) bytes: usize,
}

impl Usage {
    /// Whether it is so much that the instance is to be replaced.
    pub(crate) fn is_worn(self, limits: &Limits) -> bool {
        self.calls >= limits.retire_after_calls || self.bytes >= limits.retire_after_bytes
    }
}

/// The host's state for one instance.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) origin: Arc<Origin>,
    pub(crate) meter: Meter,
    pub(crate) log: CallLog,
    /// What a guest that imports WASI has of it.
    pub(crate) wasi: Option<Box<Wasi>>,
    pub(crate) usage: Usage,
    /// When the guest first saw the epoch advance in the current call. Nearly all calls end before, so they read no
    /// clock.
    first_tick: Option<Instant>,
}

impl Guest {
    pub(crate) fn new(origin: Arc<Origin>, taken: Taken) -> Self {
        let meter = Meter::new(&origin.limits, taken);
        Self { origin, meter, log: CallLog::default(), wasi: None, usage: Usage::default(), first_tick: None }
    }

    /// Starts a new call: resets the usage and the log of the last one.
    pub(crate) fn begin_call(&mut self, context: &CallContext<'_>) {
        self.first_tick = None;
        self.log.clear();
        self.meter.forget_refused();
        let Usage { calls, bytes } = self.usage;
        self.usage = Usage { calls: calls.saturating_add(1), bytes: bytes.saturating_add(context.bytes) };
        if let Some(wasi) = &mut self.wasi {
            wasi.begin_call(context);
        }
    }

    /// Ends a call: what the guest has begun to print is a line.
    pub(crate) fn end_call(&mut self) {
        if let Some(wasi) = &mut self.wasi {
            wasi.end_call(&self.origin, &mut self.log);
        }
    }

    /// Called when the guest sees that the epoch has advanced.
    pub(crate) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        match self.first_tick {
            None => self.first_tick = Some(Instant::now()),
            Some(first) => {
                // A call is long if it goes on from one tick until the next, while other work waits for its thread.
                // Wall-clock time does not show this: a short call also takes long on a thread that waits for a
                // processor.
                self.origin.calls_beside.store(CALLS_BESIDE, Ordering::Relaxed);
                if first.elapsed() >= self.origin.limits.call_time {
                    return Err(OutOfTime.into());
                }
            }
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// The guest computed past its deadline. It stops where it is.
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
        let room = Room::new(1 << 20);
        let origin = Arc::new(Origin::new("plugin".to_owned(), "sha256:0".to_owned(), limits.into(), &room));
        let taken = origin.room.enter(1).unwrap();
        let mut guest = Guest::new(origin, taken);
        assert!(guest.tick().is_ok(), "its time only begins to count");
        assert!(!guest.origin.takes_call_beside(), "its thread may have waited for a processor");
        assert!(guest.tick().err().is_some_and(|error| error.is::<OutOfTime>()));
        for call in 0..CALLS_BESIDE {
            assert!(guest.origin.takes_call_beside(), "call {call} after the long one");
        }
        assert!(!guest.origin.takes_call_beside());
    }
}
