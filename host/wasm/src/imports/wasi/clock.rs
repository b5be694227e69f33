//! `wasi:clocks`: time that passes only when the guest waits.

use pelton_core::time::Timestamp;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};

use super::View;
use super::io::Ready;

/// What the monotonic clock shows when a call begins, in nanoseconds. Not 0, which runtimes take for "never".
const MONOTONIC_START: u64 = 1_000_000_000;
const NANOS: u64 = 1_000_000_000;

/// The clocks of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The wall clock when the call began.
    began: Timestamp,
    monotonic: u64,
}

impl Clock {
    /// The clocks at the beginning of a call.
    pub(super) fn at(time: Timestamp) -> Self {
        Self { began: time, monotonic: MONOTONIC_START }
    }

    /// The monotonic clock, in nanoseconds.
    pub(super) fn monotonic(self) -> u64 {
        self.monotonic
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    fn wall(self) -> u64 {
        self.began.0.saturating_add(self.monotonic - MONOTONIC_START)
    }

    /// Waits until the monotonic clock shows this. It takes no time.
    pub(super) fn wait_until(&mut self, monotonic: u64) {
        self.monotonic = self.monotonic.max(monotonic);
    }
}

impl wall_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let nanos = self.wasi.clock.wall();
        let nanoseconds = u32::try_from(nanos % NANOS)?;
        Ok(wall_clock::Datetime { seconds: nanos / NANOS, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi.clock.monotonic())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(Ready::At(when))
    }

    fn subscribe_duration(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(Ready::At(self.wasi.clock.monotonic().saturating_add(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_when_the_guest_waits_and_never_goes_back() {
        let mut clock = Clock::at(Timestamp(7));
        assert_eq!((clock.wall(), clock.monotonic()), (7, MONOTONIC_START));
        clock.wait_until(MONOTONIC_START + 3_600 * NANOS);
        assert_eq!(clock.wall(), 7 + 3_600 * NANOS);
        clock.wait_until(MONOTONIC_START);
        assert_eq!(clock.wall(), 7 + 3_600 * NANOS);
        clock.wait_until(u64::MAX);
        assert_eq!(clock.monotonic(), u64::MAX);
    }
}
