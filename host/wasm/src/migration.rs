//! The optional interface `saga-migration`: instances of another version of a saga.

use pelton_core::contract::{MAX_INSTANCE_STATE_BYTES, MAX_TIMER_CHANGES};
use pelton_core::id::InstanceId;
use pelton_core::plugin::PluginFault;
use pelton_core::saga::model::{Migrated, Timer};
use pelton_core::time::Timestamp;

use crate::bindings::migration::exports::pelton::plugin::saga_migration::{
    self as guest, Guest, GuestIndices,
};
use crate::bindings::migration::pelton::plugin::types;
use crate::context::CallContext;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::saga::check_timer;
use crate::sandbox::Blueprint;
use crate::validate;
use crate::values::for_people;

/// The migration of a saga. Calls are rare: each has an instance of its own.
pub(crate) struct WasmMigration {
    indices: GuestIndices,
}

impl WasmMigration {
    /// Checks that the component keeps to the interface.
    pub(crate) fn new(blueprint: &Blueprint) -> Result<Self, Refusal> {
        let (mut sandbox, instance) = blueprint.build()?;
        let mut interface = Interface::of("saga-migration", blueprint, sandbox.store(), &instance)?;
        interface.function("migrate", Guest::func_migrate)?;
        let indices = GuestIndices::new(&blueprint.pre).map_err(|e| Refusal::interface(&e))?;
        Ok(Self { indices })
    }

    /// The instance in the present form. The inner error is the plugin's own word for why it cannot.
    pub(crate) fn migrate(
        &self,
        blueprint: &Blueprint,
        instance_id: &InstanceId,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> Result<Result<Migrated, String>, PluginFault> {
        let (mut sandbox, instance) = blueprint.build()?;
        let guest = match self.indices.load(sandbox.store(), &instance) {
            Ok(guest) => guest,
            // The check at load found them, and the same component has the same exports.
            Err(e) => return Err(sandbox.refuse(format!("its exports cannot be found: {e:#}"))),
        };
        let timers: Vec<_> = timers.iter().map(types::Timer::from).collect();
        let id = instance_id.as_str();
        let bytes = timers.iter().fold(state.len(), |bytes, timer| bytes.saturating_add(timer.data.len()));
        let context = CallContext::of_id(id, bytes);
        match sandbox.call(&context, |store| guest.call_migrate(store, id, from_version, state, &timers))? {
            Ok(given) => Ok(Ok(migrated(given).map_err(|what| sandbox.refuse(what))?)),
            Err(why) => Ok(Err(for_people(why))),
        }
    }
}

fn migrated(guest::Migrated { state, timers }: guest::Migrated) -> Result<Migrated, String> {
    validate::at_most("the state", state.len(), MAX_INSTANCE_STATE_BYTES, "bytes")?;
    validate::at_most("the instance", timers.len(), MAX_TIMER_CHANGES, "timers")?;
    let timers = timers.into_iter().map(|types::Timer { id, type_, due, data }| {
        let timer = Timer { id, r#type: type_, due: Timestamp(due), data: data.into() };
        check_timer(&timer).map(|()| timer)
    });
    Ok(Migrated { state, timers: timers.collect::<Result<_, _>>()? })
}

impl From<&Timer> for types::Timer {
    fn from(timer: &Timer) -> Self {
        let Timer { id, r#type, due, data } = timer;
        Self { id: id.clone(), type_: r#type.clone(), due: due.0, data: data.to_vec() }
    }
}
