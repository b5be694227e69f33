//! One instance of a component in a store of its own, and the rules of calling into it.
//!
//! A call runs on the thread that makes it. Nearly all calls take microseconds. A separate stack for each instance, on
//! which a call could yield, would cost every call and every live entity more than it saves. The calls of a plugin
//! whose calls take long run in `block_in_place`, see [`crate::guest`].
//!
//! After an error that is not a result of the contract, the instance may be in any state: the sandbox is poisoned and
//! runs nothing any more.

use std::sync::Arc;

use pelton_core::plugin::{FaultKind, PluginFault};
use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::engine::Engine;
use crate::fault;
use crate::guest::{Guest, Origin};
use crate::mappings::{Mappings, Reserved};

fn make_beside<R>(call: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        // There is no other thread.
        _ => call(),
    }
}

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
    /// A fresh instance in a store of its own. Starting it must take no longer than a call may.
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
        let mut store = Store::new(self.engine.wasmtime(), Guest::new(self.origin.clone()));
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(limits.result_bytes);
        store.set_max_component_handles(limits.handles);
        // The deadline interrupts the guest itself, because only then its position is known.
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
    // Declared after the store, so that the mappings are returned after they are gone.
    _reserved: Reserved,
    // An instance may outlive its plugin. It must not outlive the epoch, because nothing else would stop it.
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

    /// Calls into the instance, unless it is poisoned. An error poisons the sandbox and becomes a fault.
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
        guest.begin_call();
        self.store.set_epoch_deadline(1);
        // This also holds if the call panics.
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

    /// Reports that the last call's result breaks the contract. Poisons the sandbox, because the plugin is not trusted
    /// any more.
    pub(crate) fn refuse(&mut self, what: String) -> PluginFault {
        self.poisoned = true;
        let guest = self.store.data_mut();
        PluginFault { log: guest.log.take(), ..guest.origin.fault(FaultKind::Refused, what) }
    }

    /// The size of the linear memories, touched or not.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().meter.memory_bytes()
    }

    /// The estimated memory of the instance: the measured size of a live instance, and the growth of its memories since
    /// it was made. All instances share the untouched pages of the first image. Of the first page of a heap, which
    /// every instance takes, only the touched part is resident.
    pub(crate) fn resident_bytes(&self) -> usize {
        const LIVE_INSTANCE_BYTES: usize = 56 * 1024;
        const FIRST_OF_HEAP_BYTES: usize = 64 * 1024;
        let at_first = self.memory_bytes_at_start + FIRST_OF_HEAP_BYTES;
        LIVE_INSTANCE_BYTES + self.memory_bytes().saturating_sub(at_first)
    }
}
