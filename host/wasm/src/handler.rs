//! The role `command-handler`.

use std::sync::Arc;

use pelton_core::command::decision;
use pelton_core::command::ports::{EntityInstance, HandlerDescriptor, HandlerPlugin, Isolation};
use pelton_core::contract::{MAX_FOLDED_EVENTS, MAX_STATE_BYTES};
use pelton_core::message::{Command, NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::{Plugin, PluginFault};
use wasmtime::Store;
use wasmtime::component::{Instance, ResourceAny};

use crate::bindings::folds::exports::pelton::plugin::command_handler::{
    Descriptor, Guest, GuestEntity, GuestIndices,
};
use crate::context::CallContext;
use crate::entities::{EntitySandbox, Resident, SharedSandboxes};
use crate::guest::Guest as Host;
use crate::limits::InBytes;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::sandbox::{Blueprint, Sandbox};
use crate::{validate, values};

/// A plugin in the role `command-handler`. Clones share the compiled component and the sandboxes.
#[derive(Debug, Clone)]
pub struct WasmHandler {
    inner: Arc<Inner>,
    /// None: every entity has a sandbox of its own.
    shared: Option<Arc<SharedSandboxes>>,
}

struct Inner {
    blueprint: Blueprint,
    indices: GuestIndices,
    descriptor: HandlerDescriptor,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("blueprint", &self.blueprint)
            .field("descriptor", &self.descriptor)
            .finish_non_exhaustive()
    }
}

impl WasmHandler {
    /// Checks that the component keeps to the role, and asks it for its descriptor.
    pub(crate) fn new(blueprint: Blueprint) -> Result<Self, Refusal> {
        let (mut sandbox, instance) = blueprint.build()?;
        let mut role = Interface::of("command-handler", &blueprint, sandbox.store(), &instance)?;
        role.function("describe", Guest::func_describe)?;
        role.function("[constructor]entity", GuestEntity::func_constructor)?;
        role.function("[static]entity.restore", GuestEntity::func_restore)?;
        role.function("[method]entity.evolve", GuestEntity::func_evolve)?;
        role.function("[method]entity.decide", GuestEntity::func_decide)?;
        role.function("[method]entity.snapshot", GuestEntity::func_snapshot)?;
        let indices = GuestIndices::new(&blueprint.pre).map_err(|e| Refusal::interface(&e))?;
        let guest = indices.load(sandbox.store(), &instance).map_err(|e| Refusal::interface(&e))?;
        let described = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
        let descriptor = descriptor(described).map_err(Refusal::Descriptor)?;
        Ok(Self { inner: Arc::new(Inner { blueprint, indices, descriptor }), shared: Some(Arc::default()) })
    }

    /// The same plugin, with a sandbox of its own for every entity.
    #[must_use]
    pub fn isolating(self) -> Self {
        Self { shared: None, ..self }
    }

    /// What one fresh instance says of itself, asked so many times.
    pub(crate) fn descriptions(&self, times: usize) -> Result<Vec<String>, PluginFault> {
        let Inner { blueprint, indices, .. } = &*self.inner;
        blueprint.descriptions(times, |sandbox, instance| {
            let guest = indices.load(sandbox.store(), instance);
            let guest = guest.map_err(|e| sandbox.refuse(format!("its exports cannot be found: {e:#}")))?;
            Ok(move |sandbox: &mut Sandbox| {
                let said = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
                let text = format!("{said:?}");
                descriptor(said).map(|_| text).map_err(|what| sandbox.refuse(what))
            })
        })
    }

    fn entity(&self, sandbox: Arc<EntitySandbox>, id: &str, entity: ResourceAny) -> WasmEntity {
        WasmEntity { inner: self.inner.clone(), id: id.into(), resident: Resident::new(sandbox, entity) }
    }

    /// A sandbox for one more entity.
    fn sandbox(&self, isolation: Isolation) -> Result<Arc<EntitySandbox>, PluginFault> {
        let make = |shared| {
            let Inner { blueprint, indices, .. } = &*self.inner;
            let load = |sandbox: &mut Sandbox, instance: &Instance| {
                let exports = indices.load(sandbox.store(), instance);
                // The check at load found them, and the same component has the same exports.
                let exports =
                    exports.map_err(|e| sandbox.refuse(format!("its exports cannot be found: {e:#}")))?;
                // What a runtime reads when it is called for the first time must not follow from whoever comes first.
                if blueprint.has_wasi {
                    sandbox.call(&CallContext::CONSTANT, |store| exports.call_describe(store))?;
                }
                Ok(exports)
            };
            EntitySandbox::new(blueprint, load, shared)
        };
        match (&self.shared, isolation) {
            (Some(shared), Isolation::Shared) => shared.open(|| make(true)),
            (None, _) | (_, Isolation::Alone) => make(false),
        }
    }
}

fn descriptor(described: Descriptor) -> Result<HandlerDescriptor, String> {
    let Descriptor { identity, commands, emits, folds, rejections, state_version, metadata } = described;
    validate::descriptor_metadata(&metadata)?;
    let emits = validate::event_types(emits.into_iter().map(|t| (t.type_, t.version)))?;
    let folds = validate::event_types(folds.into_iter().map(|t| (t.type_, t.version)))?;
    validate::folds_what_it_emits(&emits, &folds)?;
    Ok(HandlerDescriptor {
        identity: validate::identity(identity.name, identity.version, &identity.metadata)?,
        commands: validate::command_types(commands)?,
        emits,
        folds,
        rejections: validate::codes(rejections)?,
        state_version,
        decides_ahead: metadata.iter().any(|(name, value)| name == "decide-ahead" && value == "true"),
    })
}

impl Plugin for WasmHandler {
    fn name(&self) -> &str {
        &self.inner.blueprint.origin.name
    }

    fn digest(&self) -> &str {
        &self.inner.blueprint.origin.digest
    }
}

impl HandlerPlugin for WasmHandler {
    type Instance = WasmEntity;

    fn descriptor(&self) -> &HandlerDescriptor {
        &self.inner.descriptor
    }

    fn for_shard(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.as_ref().map(|_| Arc::default()) }
    }

    async fn create(&self, entity_id: &str, isolation: Isolation) -> Result<WasmEntity, PluginFault> {
        let sandbox = self.sandbox(isolation)?;
        let context = CallContext::of_id(entity_id, 0);
        let entity =
            sandbox.call(&context, |store, guest| guest.entity().call_constructor(store, entity_id))?;
        Ok(self.entity(sandbox, entity_id, entity))
    }

    async fn restore(
        &self,
        entity_id: &str,
        snapshot: &[u8],
        isolation: Isolation,
    ) -> Result<Result<WasmEntity, String>, PluginFault> {
        let sandbox = self.sandbox(isolation)?;
        let context = CallContext::of_id(entity_id, snapshot.len());
        let restore =
            |store: &mut Store<Host>, guest: &Guest| guest.entity().call_restore(store, entity_id, snapshot);
        match sandbox.call(&context, restore)? {
            Ok(entity) => Ok(Ok(self.entity(sandbox, entity_id, entity))),
            Err(why) => Ok(Err(values::for_people(why))),
        }
    }
}

/// The state of one entity in its sandbox.
#[derive(Debug)]
pub struct WasmEntity {
    inner: Arc<Inner>,
    id: Box<str>,
    resident: Resident,
}

impl WasmEntity {
    fn call<R>(
        &self,
        context: &CallContext<'_>,
        call: impl FnOnce(GuestEntity<'_>, &mut Store<Host>, ResourceAny) -> wasmtime::Result<R>,
    ) -> Result<R, PluginFault> {
        let Resident { sandbox, entity } = &self.resident;
        sandbox.call(context, |store, guest| call(guest.entity(), store, *entity))
    }

    fn fold(&self, context: &CallContext<'_>, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        let extensions = values::extensions(events);
        let borrowed = values::recorded_events(events, &extensions);
        let folded =
            self.call(context, |guest, store, entity| guest.call_evolve(store, entity, &borrowed))?;
        folded.map_err(|why| self.refuse(format!("cannot read an event: {}", values::for_people(why))))
    }

    /// The fault of an answer that breaks the contract. The call itself went well, so its sandbox works on.
    fn refuse(&self, what: String) -> PluginFault {
        self.resident.sandbox.fault(what)
    }
}

impl EntityInstance for WasmEntity {
    async fn evolve(&mut self, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        decision::check_history(events, &self.inner.descriptor).map_err(|what| self.refuse(what))?;
        // A guest with a clock gets each event by itself: which events come together differs from host to host.
        if self.inner.blueprint.has_wasi {
            return events
                .iter()
                .try_for_each(|event| self.fold(&CallContext::of_event(event), std::slice::from_ref(event)));
        }
        let mut chunks = events.chunks(MAX_FOLDED_EVENTS);
        chunks.try_for_each(|chunk| self.fold(&CallContext::of_events(chunk), chunk))
    }

    async fn decide(&mut self, command: &Command) -> Result<Result<Vec<NewEvent>, Rejection>, PluginFault> {
        let metadata = values::pairs(&command.metadata);
        let additions = values::pairs(&command.context);
        let borrowed = values::command(command, &metadata, &additions);
        let context = CallContext::of_command(command);
        match self.call(&context, |guest, store, entity| guest.call_decide(store, entity, borrowed))? {
            Ok(events) => Ok(Ok(events.into_iter().map(NewEvent::from).collect())),
            Err(rejection) => {
                let rejection = Rejection::from(rejection);
                decision::check_code(&rejection.code, &self.inner.descriptor)
                    .and_then(|()| validate::rejection(&rejection))
                    .map_err(|what| self.refuse(what))?;
                Ok(Err(rejection))
            }
        }
    }

    async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let context = CallContext::of_id(&self.id, 0);
        let snapshot = self.call(&context, |guest, store, entity| guest.call_snapshot(store, entity))?;
        if let Some(bytes) = snapshot.as_ref().map(Vec::len).filter(|bytes| *bytes > MAX_STATE_BYTES) {
            let limit = InBytes(MAX_STATE_BYTES);
            return Err(self.refuse(format!("its snapshot has {bytes} bytes; at most {limit} are allowed")));
        }
        Ok(snapshot)
    }

    fn is_alive(&self) -> bool {
        self.resident.sandbox.is_alive()
    }

    fn is_retired(&self) -> bool {
        self.resident.sandbox.is_retired()
    }

    fn memory_bytes(&self) -> usize {
        self.resident.sandbox.share_bytes()
    }
}
