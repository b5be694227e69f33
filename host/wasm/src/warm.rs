//! Instances of a stateless role, kept warm between calls.

use std::sync::{Mutex, PoisonError};

use pelton_core::plugin::PluginFault;

use crate::sandbox::{Blueprint, Sandbox};

/// The most instances that wait for a call. More may run at once; the surplus is dropped afterwards.
const MAX_IDLE: usize = 4;

/// Warm instances of one role of one plugin. `G` is the role's bindings.
#[derive(Debug)]
pub(crate) struct Warm<G> {
    pub(crate) blueprint: Blueprint,
    idle: Mutex<Vec<Held<G>>>,
}

/// An instance taken out for one call. The caller puts it back unless the call faulted.
#[derive(Debug)]
pub(crate) struct Held<G> {
    pub(crate) sandbox: Sandbox,
    pub(crate) guest: G,
    calls: u32,
}

impl<G> Warm<G> {
    /// Starts with the one instance that was made to describe the plugin.
    pub(crate) fn new(blueprint: Blueprint, sandbox: Sandbox, guest: G) -> Self {
        Self { blueprint, idle: Mutex::new(vec![Held { sandbox, guest, calls: 1 }]) }
    }

    /// An idle instance, or a fresh one. `load` finds the role's functions in it.
    pub(crate) fn take(
        &self,
        load: impl FnOnce(&mut Sandbox, &wasmtime::component::Instance) -> wasmtime::Result<G> + Send,
    ) -> Result<Held<G>, PluginFault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(held) = idle {
            return Ok(held);
        }
        let (mut sandbox, instance) = self.blueprint.build()?;
        match load(&mut sandbox, &instance) {
            Ok(guest) => Ok(Held { sandbox, guest, calls: 0 }),
            // The check at load found them, and the same component has the same exports.
            Err(e) => Err(sandbox.refuse(format!("its exports cannot be found: {e:#}"))),
        }
    }

    /// Keeps an instance after a call that succeeded, unless it is due to be replaced.
    pub(crate) fn put_back(&self, mut held: Held<G>) {
        held.calls = held.calls.saturating_add(1);
        let limits = &self.blueprint.origin.limits;
        if held.calls >= limits.retire_after_calls || held.sandbox.memory_bytes() >= limits.retire_at_bytes {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(held);
        }
    }
}
