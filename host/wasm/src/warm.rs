//! Instances of a stateless role, kept warm between calls.

use std::sync::{Mutex, PoisonError};

use pelton_core::plugin::PluginFault;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::context::CallContext;
use crate::guest::Guest;
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
}

impl<G> Warm<G> {
    /// Starts with the one instance that was made to describe the plugin.
    pub(crate) fn new(blueprint: Blueprint, sandbox: Sandbox, guest: G) -> Self {
        Self { blueprint, idle: Mutex::new(vec![Held { sandbox, guest }]) }
    }

    /// An idle instance, or a fresh one. `load` finds the role's functions in it, and `describe` calls the one of this
    /// name.
    pub(crate) fn take(
        &self,
        load: impl FnOnce(&mut Sandbox, &Instance) -> wasmtime::Result<G> + Send,
        describe: impl FnOnce(&G, &mut Store<Guest>) -> wasmtime::Result<()> + Send,
    ) -> Result<Held<G>, PluginFault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(held) = idle {
            return Ok(held);
        }
        let (mut sandbox, instance) = self.blueprint.build()?;
        let guest = match load(&mut sandbox, &instance) {
            Ok(guest) => guest,
            // The check at load found them, and the same component has the same exports.
            Err(e) => return Err(sandbox.refuse(format!("its exports cannot be found: {e:#}"))),
        };
        // What a runtime reads when it is called for the first time must not follow from whoever comes first.
        if self.blueprint.has_wasi {
            sandbox.call(&CallContext::CONSTANT, |store| describe(&guest, store))?;
        }
        Ok(Held { sandbox, guest })
    }

    /// Keeps an instance after a call that succeeded, unless it is due to be replaced.
    pub(crate) fn put_back(&self, held: Held<G>) {
        let limits = &self.blueprint.origin.limits;
        if held.sandbox.usage().is_worn(limits) || held.sandbox.memory_bytes() >= limits.retire_at_bytes {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(held);
        }
    }
}
