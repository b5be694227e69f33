//! One instance of a component in a store of its own, and the rules of calling into it.
//!
//! Calls run on the thread that makes them. Nearly all take microseconds: a stack of its own for each instance, so that a
//! call could make way for others, would cost every call and every live entity more than it saves. A plugin whose calls
//! take long has them made beside the others, see [`CALLS_BESIDE`].
//!
//! After any error that is not a result of the contract the instance may be halfway through something: the sandbox is
//! poisoned and runs nothing any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use pelton_core::plugin::{FaultKind, PluginFault};
use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, UpdateDeadline};

use crate::engine::Engine;
use crate::fault;
use crate::limits::{Limits, Meter};
use crate::log::CallLog;
use crate::mappings::{Mappings, Reserved};

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
    fn takes_call_beside(&self) -> bool {
        let one_less = |calls: u32| calls.checked_sub(1);
        self.calls_beside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    pub(crate) fn fault(&self, kind: FaultKind, what: String) -> PluginFault {
        let (plugin, digest) = (self.name.clone(), self.digest.clone());
        PluginFault { plugin, digest, kind, what, backtrace: Vec::new(), log: Vec::new() }
    }
}

fn make_beside<R>(call: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        // There is no other thread.
        _ => call(),
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
    /// The guest sees that the epoch has advanced.
    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
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

/// A component that is checked, linked and ready to be instantiated any number of times.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) origin: Arc<Origin>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) engine: Arc<Engine>,
    /// The memory mappings of an instance.
    pub(crate) mappings: usize,
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blueprint").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Blueprint {
    /// A fresh instance in a store of its own, within the time limit of a call.
    pub(crate) fn build(&self) -> Result<(Sandbox, Instance), PluginFault> {
        let limits = &self.origin.limits;
        let reserved = Mappings::of_this_process().reserve(self.mappings).ok_or_else(|| {
            let room = Mappings::of_this_process().instances();
            let what = format!(
                "cannot be instantiated: about {room} instances are alive, and the machine's vm.max_map_count allows no \
                 more; keep fewer entities alive or raise it"
            );
            self.origin.fault(FaultKind::Broke, what)
        })?;
        let guest = Guest {
            origin: self.origin.clone(),
            meter: Meter::new(limits),
            log: CallLog::default(),
            first_tick: None,
        };
        let mut store = Store::new(self.engine.wasmtime(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(limits.result_bytes);
        store.set_max_component_handles(limits.handles);
        // Stops the guest itself at its deadline: only then is known where it was.
        store.epoch_deadline_callback(|mut store| store.data_mut().tick());
        let mut sandbox = Sandbox {
            store,
            poisoned: false,
            memory_bytes_at_start: 0,
            _reserved: reserved,
            _engine: self.engine.clone(),
        };
        let instance = sandbox.run(|store| self.pre.instantiate(store), fault::of_instantiation)?;
        sandbox.memory_bytes_at_start = sandbox.store.data().meter.memory_bytes();
        Ok((sandbox, instance))
    }
}

/// An instance in its store.
pub(crate) struct Sandbox {
    store: Store<Guest>,
    poisoned: bool,
    memory_bytes_at_start: usize,
    // After the store: given back when its mappings are gone.
    _reserved: Reserved,
    // An instance may outlive its plugin, and must not outlive the epoch: nothing else would stop it.
    _engine: Arc<Engine>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("guest", self.store.data())
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    pub(crate) fn store(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    /// Calls into the instance, if it can still be trusted. An error poisons the sandbox and is put into words.
    pub(crate) fn call<R>(
        &mut self,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginFault> {
        self.run(call, fault::of_call)
    }

    fn run<R>(
        &mut self,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
        explain: impl FnOnce(&wasmtime::Error, &mut Guest) -> PluginFault,
    ) -> Result<R, PluginFault> {
        let guest = self.store.data_mut();
        if self.poisoned {
            let what = "its instance is poisoned by an earlier fault; it must be dropped";
            return Err(guest.origin.fault(FaultKind::Broke, what.to_owned()));
        }
        let beside = guest.origin.takes_call_beside();
        guest.first_tick = None;
        guest.log.clear();
        guest.meter.forget_refused();
        self.store.set_epoch_deadline(1);
        // Also where the call panics.
        self.poisoned = true;
        let outcome = if beside { make_beside(|| call(&mut self.store)) } else { call(&mut self.store) };
        match outcome {
            Ok(result) => {
                self.poisoned = false;
                Ok(result)
            }
            Err(error) => Err(explain(&error, self.store.data_mut())),
        }
    }

    /// What the last call returned breaks the contract. Poisons the sandbox: such a plugin is not trusted further.
    pub(crate) fn refuse(&mut self, what: String) -> PluginFault {
        self.poisoned = true;
        let guest = self.store.data_mut();
        PluginFault { log: guest.log.take(), ..guest.origin.fault(FaultKind::Refused, what) }
    }

    /// The linear memories, whether touched or not.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().meter.memory_bytes()
    }

    /// What it can be taken to hold of the machine's memory: what every live instance was measured to hold, and what
    /// its memories have grown since it was made. Untouched pages of the first image are shared by all instances, and of
    /// the first page of a heap, which every instance takes, only what is touched is there.
    pub(crate) fn resident_bytes(&self) -> usize {
        const LIVE_INSTANCE_BYTES: usize = 56 * 1024;
        const FIRST_OF_HEAP_BYTES: usize = 64 * 1024;
        let at_first = self.memory_bytes_at_start + FIRST_OF_HEAP_BYTES;
        LIVE_INSTANCE_BYTES + self.memory_bytes().saturating_sub(at_first)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_is_long_that_goes_on_for_two_ticks() {
        let limits = Limits { call_time: Duration::ZERO, ..Limits::default() };
        let meter = Meter::new(&limits);
        let origin = Arc::new(Origin::new("plugin".to_owned(), "sha256:0".to_owned(), limits));
        let mut guest = Guest { origin, meter, log: CallLog::default(), first_tick: None };
        assert!(guest.tick().is_ok(), "its time only begins to count");
        assert!(!guest.origin.takes_call_beside(), "its thread may have waited for a processor");
        assert!(guest.tick().err().is_some_and(|error| error.is::<OutOfTime>()));
        for call in 0..CALLS_BESIDE {
            assert!(guest.origin.takes_call_beside(), "call {call} after the long one");
        }
        assert!(!guest.origin.takes_call_beside());
    }
}
