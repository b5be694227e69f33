//! The role `command-handler`: one sandbox for every live entity.

use std::sync::Arc;

use pelton_core::command::ports::{EntityInstance, HandlerDescriptor, HandlerPlugin};
use pelton_core::contract::{MAX_FOLDED_EVENTS, MAX_STATE_BYTES};
use pelton_core::message::{Command, NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::{Plugin, PluginFault};
use wasmtime::component::ResourceAny;

use crate::bindings::folds::exports::pelton::plugin::command_handler::{
    Descriptor, Guest, GuestEntity, GuestIndices,
};
use crate::limits::InBytes;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::sandbox::{Blueprint, Sandbox};
use crate::{validate, values};

/// A plugin in the role `command-handler`. Clones share the compiled component.
#[derive(Debug, Clone)]
pub struct WasmHandler(Arc<Inner>);

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
        let described = sandbox.call(|store| guest.call_describe(store))?;
        let descriptor = descriptor(described).map_err(Refusal::Descriptor)?;
        Ok(Self(Arc::new(Inner { blueprint, indices, descriptor })))
    }

    /// An instance without an entity in it.
    fn sandbox(&self) -> Result<(Sandbox, Guest), PluginFault> {
        let (mut sandbox, instance) = self.0.blueprint.build()?;
        let guest = self.0.indices.load(sandbox.store(), &instance);
        // The check at load found them, and the same component has the same exports.
        let guest = guest.map_err(|e| self.fault(format!("its exports cannot be found: {e:#}")))?;
        Ok((sandbox, guest))
    }
}

fn descriptor(described: Descriptor) -> Result<HandlerDescriptor, String> {
    let Descriptor { identity, commands, events, state_version, metadata } = described;
    validate::pairs("it", &metadata)?;
    Ok(HandlerDescriptor {
        identity: validate::identity(identity.name, identity.version, &identity.metadata)?,
        commands: validate::command_types(commands)?,
        events: validate::event_types(events.into_iter().map(|t| (t.type_, t.version)))?,
        state_version,
        decides_ahead: metadata.iter().any(|(name, value)| name == "decide-ahead" && value == "true"),
    })
}

impl Plugin for WasmHandler {
    fn name(&self) -> &str {
        &self.0.blueprint.origin.name
    }

    fn digest(&self) -> &str {
        &self.0.blueprint.origin.digest
    }
}

impl HandlerPlugin for WasmHandler {
    type Instance = WasmEntity;

    fn descriptor(&self) -> &HandlerDescriptor {
        &self.0.descriptor
    }

    async fn create(&self, entity_id: &str) -> Result<WasmEntity, PluginFault> {
        let (mut sandbox, guest) = self.sandbox()?;
        let entity = sandbox.call(|store| guest.entity().call_constructor(store, entity_id))?;
        Ok(WasmEntity { sandbox, guest, entity })
    }

    async fn restore(
        &self,
        entity_id: &str,
        snapshot: &[u8],
    ) -> Result<Result<WasmEntity, String>, PluginFault> {
        let (mut sandbox, guest) = self.sandbox()?;
        match sandbox.call(|store| guest.entity().call_restore(store, entity_id, snapshot))? {
            Ok(entity) => Ok(Ok(WasmEntity { sandbox, guest, entity })),
            Err(why) => Ok(Err(values::for_people(why))),
        }
    }
}

/// The state of one entity in a sandbox of its own. After a fault every later call faults too.
pub struct WasmEntity {
    sandbox: Sandbox,
    guest: Guest,
    entity: ResourceAny,
}

impl std::fmt::Debug for WasmEntity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmEntity").field("sandbox", &self.sandbox).finish_non_exhaustive()
    }
}

impl EntityInstance for WasmEntity {
    async fn evolve(&mut self, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        for chunk in events.chunks(MAX_FOLDED_EVENTS) {
            let extensions = values::extensions(chunk);
            let borrowed = values::recorded_events(chunk, &extensions);
            let (guest, entity) = (self.guest.entity(), self.entity);
            if let Err(why) = self.sandbox.call(|store| guest.call_evolve(store, entity, &borrowed))? {
                return Err(self
                    .sandbox
                    .refuse(format!("cannot read an event: {}", values::for_people(why))));
            }
        }
        Ok(())
    }

    async fn decide(&mut self, command: &Command) -> Result<Result<Vec<NewEvent>, Rejection>, PluginFault> {
        let metadata = values::pairs(&command.metadata);
        let borrowed = values::command(command, &metadata);
        let (guest, entity) = (self.guest.entity(), self.entity);
        match self.sandbox.call(|store| guest.call_decide(store, entity, borrowed))? {
            Ok(events) => Ok(Ok(events.into_iter().map(NewEvent::from).collect())),
            Err(rejection) => {
                let rejection = Rejection::from(rejection);
                validate::rejection(&rejection).map_err(|what| self.sandbox.refuse(what))?;
                Ok(Err(rejection))
            }
        }
    }

    async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let (guest, entity) = (self.guest.entity(), self.entity);
        let snapshot = self.sandbox.call(|store| guest.call_snapshot(store, entity))?;
        if let Some(bytes) = snapshot.as_ref().map(Vec::len).filter(|bytes| *bytes > MAX_STATE_BYTES) {
            let limit = InBytes(MAX_STATE_BYTES);
            return Err(self
                .sandbox
                .refuse(format!("its snapshot has {bytes} bytes; at most {limit} are allowed")));
        }
        Ok(snapshot)
    }

    fn memory_bytes(&self) -> usize {
        self.sandbox.resident_bytes()
    }
}
