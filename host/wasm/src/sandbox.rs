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

use crate::context::CallContext;
use crate::engine::Engine;
use crate::fault;
use crate::guest::{Guest, Origin, Usage};
use crate::limits::Refused;

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
    /// The linear memories of an instance.
    pub(crate) memories: usize,
    /// Whether it imports WASI. Its language has a runtime then, and what it sees of WASI follows from the call.
    pub(crate) has_wasi: bool,
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
        let taken = self.origin.room.enter(self.memories);
        let taken = taken.map_err(|lacking| fault::of_shortage(&self.origin, Refused::Room(lacking)))?;
        let mut guest = Guest::new(self.origin.clone(), taken);
        guest.wasi = self.has_wasi.then(Box::default);
        let mut store = Store::new(self.engine.wasmtime(), guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(limits.result_bytes);
        store.set_max_component_handles(limits.handles);
        // The deadline interrupts the guest itself, because only then its position is known.
        store.epoch_deadline_callback(|mut store| store.data_mut().tick());
        let mut sandbox = Sandbox { store, poisoned: false, _engine: self.engine.clone() };
        let instantiate = |store: &mut Store<Guest>| self.pre.instantiate(store);
        let instance = sandbox.run(&CallContext::CONSTANT, instantiate, fault::of_instantiation)?;
        sandbox.store.data_mut().usage = Usage::default();
        Ok((sandbox, instance))
    }
}

impl Blueprint {
    /// What one fresh instance says of itself, asked so many times. `load` finds the function that asks it.
    pub(crate) fn descriptions<A: Fn(&mut Sandbox) -> Result<String, PluginFault>>(
        &self,
        times: usize,
        load: impl FnOnce(&mut Sandbox, &Instance) -> Result<A, PluginFault>,
    ) -> Result<Vec<String>, PluginFault> {
        let (mut sandbox, instance) = self.build()?;
        let ask = load(&mut sandbox, &instance)?;
        (0..times).map(|_| ask(&mut sandbox)).collect()
    }
}

/// An instance in its store.
pub(crate) struct Sandbox {
    store: Store<Guest>,
    poisoned: bool,
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
        context: &CallContext<'_>,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
    ) -> Result<R, PluginFault> {
        self.run(context, call, fault::of_call)
    }

    fn run<R>(
        &mut self,
        context: &CallContext<'_>,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
        explain: impl FnOnce(&wasmtime::Error, &mut Guest) -> PluginFault,
    ) -> Result<R, PluginFault> {
        let guest = self.store.data_mut();
        if self.poisoned {
            let what = "its instance is poisoned by an earlier fault; it must be dropped";
            return Err(guest.origin.fault(FaultKind::Broke, what.to_owned()));
        }
        let beside = guest.origin.takes_call_beside();
        guest.begin_call(context);
        self.store.set_epoch_deadline(1);
        // This also holds if the call panics.
        self.poisoned = true;
        let outcome = if beside { make_beside(|| call(&mut self.store)) } else { call(&mut self.store) };
        self.store.data_mut().end_call();
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
        self.fault(what)
    }

    /// Reports that the last call's result breaks the contract.
    pub(crate) fn fault(&mut self, what: String) -> PluginFault {
        let guest = self.store.data_mut();
        PluginFault { log: guest.log.take(), ..guest.origin.fault(FaultKind::Refused, what) }
    }

    /// What it was used for.
    pub(crate) fn usage(&self) -> Usage {
        self.store.data().usage
    }

    /// The size of the linear memories, touched or not, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().meter.memory_bytes()
    }

    /// Its memories and tables, touched or not, and what the host needs for it, in bytes.
    pub(crate) fn room_bytes(&self) -> usize {
        self.store.data().meter.room_bytes()
    }
}
