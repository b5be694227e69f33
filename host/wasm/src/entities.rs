//! Sandboxes with entities in them.
//!
//! The entities of a shard share sandboxes: a sandbox for each would cost much more than its state. Once the memories of
//! a sandbox have grown to a limit, it takes no more entities, and another is made for those to come. It takes some again
//! when half of its entities are gone, whose memory the guest can use again.
//!
//! A sandbox also wears out: some runtimes never free what was passed in. A sandbox that is worn is retired. It goes on
//! working for whoever has an entity of it in hand, and each of its entities moves to another sandbox before its next
//! command.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pelton_core::plugin::{FaultKind, PluginFault};
use wasmtime::component::ResourceAny;
use wasmtime::{Store, component::Instance};

use crate::bindings::folds::exports::pelton::plugin::command_handler::Guest as Exports;
use crate::context::CallContext;
use crate::guest::{Guest, Origin};
use crate::limits::Limits;
use crate::sandbox::{Blueprint, Sandbox};

/// Entities may take one part in so many of a sandbox's handles; the others are the guest's own.
const HANDLES_PART: usize = 2;

/// The sandboxes of one shard that entities share.
#[derive(Debug, Default)]
pub(crate) struct SharedSandboxes(Mutex<Vec<Weak<EntitySandbox>>>);

impl SharedSandboxes {
    /// One with room for another entity, or else the one that is made now.
    pub(crate) fn open(
        &self,
        make: impl FnOnce() -> Result<Arc<EntitySandbox>, PluginFault>,
    ) -> Result<Arc<EntitySandbox>, PluginFault> {
        let mut sandboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sandboxes.iter().filter_map(Weak::upgrade).find(|sandbox| sandbox.has_room()) {
            return Ok(open);
        }
        sandboxes.retain(|sandbox| sandbox.strong_count() > 0);
        let made = make()?;
        sandboxes.push(Arc::downgrade(&made));
        Ok(made)
    }
}

/// An instance of the plugin with the entities that it holds.
pub(crate) struct EntitySandbox {
    origin: Arc<Origin>,
    sandbox: Mutex<Sandbox>,
    exports: Exports,
    shared: bool,
    /// False once a call has broken it.
    alive: AtomicBool,
    /// Whether its entities are to move to another.
    retired: AtomicBool,
    /// Whether it wears out by its calls and by what is passed to it: it has the runtime of a language.
    wears_out: bool,
    /// The entities in it.
    entities: AtomicUsize,
    /// How many there were when it was last found full; 0: never.
    full_with: AtomicUsize,
    memory_bytes: AtomicUsize,
    room_bytes: AtomicUsize,
    /// Entities that nobody uses any more. The next call drops them, because a guest's destructor is a call too.
    left: Mutex<Vec<ResourceAny>>,
}

impl std::fmt::Debug for EntitySandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origin, alive, entities, memory_bytes, .. } = self;
        f.debug_struct("EntitySandbox")
            .field("origin", origin)
            .field("alive", alive)
            .field("entities", entities)
            .field("memory_bytes", memory_bytes)
            .finish_non_exhaustive()
    }
}

impl EntitySandbox {
    /// A new instance. `load` finds the role's functions in it.
    pub(crate) fn new(
        blueprint: &Blueprint,
        load: impl FnOnce(&mut Sandbox, &Instance) -> Result<Exports, PluginFault>,
        shared: bool,
    ) -> Result<Arc<Self>, PluginFault> {
        let (mut sandbox, instance) = blueprint.build()?;
        let exports = load(&mut sandbox, &instance)?;
        Ok(Arc::new(Self {
            origin: blueprint.origin.clone(),
            exports,
            shared,
            alive: AtomicBool::new(true),
            retired: AtomicBool::new(false),
            wears_out: blueprint.has_wasi,
            entities: AtomicUsize::new(0),
            full_with: AtomicUsize::new(0),
            memory_bytes: AtomicUsize::new(sandbox.memory_bytes()),
            room_bytes: AtomicUsize::new(sandbox.room_bytes()),
            sandbox: Mutex::new(sandbox),
            left: Mutex::default(),
        }))
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Whether its entities are to move to another.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// An entity's share of the memory, in bytes.
    pub(crate) fn share_bytes(&self) -> usize {
        self.room_bytes.load(Ordering::Relaxed) / self.entities.load(Ordering::Relaxed).max(1)
    }

    fn has_room(&self) -> bool {
        let entities = self.entities.load(Ordering::Relaxed);
        let full_with = self.full_with.load(Ordering::Relaxed);
        let limits = &self.origin.limits;
        let is_full = entities >= limits.handles / HANDLES_PART
            || self.memory_bytes.load(Ordering::Relaxed) >= limits.retire_at_bytes
                && entities * 2 > full_with;
        if is_full {
            self.full_with.fetch_max(entities, Ordering::Relaxed);
        }
        self.is_alive() && !self.is_retired() && !is_full
    }

    /// Calls into the instance, unless an earlier call has broken it.
    pub(crate) fn call<R>(
        &self,
        context: &CallContext<'_>,
        call: impl FnOnce(&mut Store<Guest>, &Exports) -> wasmtime::Result<R>,
    ) -> Result<R, PluginFault> {
        if !self.is_alive() {
            let what = "its sandbox broke at another call".to_owned();
            return Err(PluginFault { shared: self.shared, ..self.origin.fault(FaultKind::Gone, what) });
        }
        let mut sandbox = self.sandbox();
        for entity in std::mem::take(&mut *self.left()) {
            let leave = |store: &mut Store<Guest>| entity.resource_drop(store);
            self.checked(&mut sandbox, |sandbox| sandbox.call(&CallContext::CONSTANT, leave))?;
        }
        self.checked(&mut sandbox, |sandbox| sandbox.call(context, |store| call(store, &self.exports)))
    }

    /// The fault of the last call's answer, which breaks the contract.
    pub(crate) fn fault(&self, what: String) -> PluginFault {
        self.sandbox().fault(what)
    }

    fn checked<R>(
        &self,
        sandbox: &mut Sandbox,
        call: impl FnOnce(&mut Sandbox) -> Result<R, PluginFault>,
    ) -> Result<R, PluginFault> {
        let called = call(sandbox);
        self.memory_bytes.store(sandbox.memory_bytes(), Ordering::Relaxed);
        self.room_bytes.store(sandbox.room_bytes(), Ordering::Relaxed);
        let limits = &self.origin.limits;
        let is_worn = self.wears_out && sandbox.usage().is_worn(limits);
        if (is_worn || sandbox.memory_bytes() >= retire_entities_at(limits))
            && !self.retired.swap(true, Ordering::Relaxed)
        {
            let usage = sandbox.usage();
            tracing::debug!(plugin = %self.origin.name, ?usage, memory_bytes = sandbox.memory_bytes(), "a sandbox is retired");
        }
        called.map_err(|fault| self.broke(fault))
    }

    fn broke(&self, fault: PluginFault) -> PluginFault {
        self.alive.store(false, Ordering::Relaxed);
        // A lack of room says nothing of the sandbox's other entities either.
        PluginFault { shared: self.shared && fault.kind != FaultKind::NoRoom, ..fault }
    }

    fn sandbox(&self) -> MutexGuard<'_, Sandbox> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Vec<ResourceAny>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At how many bytes of memory the entities of a sandbox move to another: between where it takes no more of them, and where
/// it breaks.
fn retire_entities_at(limits: &Limits) -> usize {
    limits.retire_at_bytes.max(limits.memory_bytes / 2 + limits.retire_at_bytes / 2)
}

/// An entity in its sandbox. Dropped, it leaves.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) sandbox: Arc<EntitySandbox>,
    pub(crate) entity: ResourceAny,
}

impl Resident {
    pub(crate) fn new(sandbox: Arc<EntitySandbox>, entity: ResourceAny) -> Self {
        sandbox.entities.fetch_add(1, Ordering::Relaxed);
        Self { sandbox, entity }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.sandbox.entities.fetch_sub(1, Ordering::Relaxed);
        if self.sandbox.shared {
            self.sandbox.left().push(self.entity);
        }
    }
}
