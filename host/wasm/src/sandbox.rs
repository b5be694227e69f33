//! One instance of a component in a store of its own, and the rules of calling into it.
//!
//! Calls run on the thread that makes them. Nearly all take microseconds: a stack of its own for each instance, so that a
//! call could make way for others, would cost every call and every live entity more than it saves. A plugin whose calls
//! take long has them made beside the others, see [`crate::guest`].
//!
//! After any error that is not a result of the contract the instance may be halfway through something: the sandbox is
//! poisoned and runs nothing any more.

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
        let mut store = Store::new(self.engine.wasmtime(), Guest::new(self.origin.clone()));
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
        guest.begin_call();
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
