//! A [`SagaMigration`] as the interface `saga-migration`.

use std::marker::PhantomData;

use crate::bindings::saga_migration::exports::pelton::plugin::saga_migration as exports;
use crate::bindings::types;
use crate::saga::TimerChange;
use crate::{Migrated, OldInstance, OldTimer, SagaMigration, Timestamp, log};

/// The exports of a plugin, for the host.
#[derive(Debug)]
pub struct Takeover<S>(PhantomData<S>);

impl<S: SagaMigration> exports::Guest for Takeover<S> {
    fn migrate(
        instance: String,
        from_version: u32,
        state: Vec<u8>,
        timers: Vec<types::Timer>,
    ) -> Result<exports::Migrated, String> {
        log::panics();
        migrate::<S>(instance, from_version, state, timers)
    }
}

pub(crate) fn migrate<S: SagaMigration>(
    instance: String,
    version: u32,
    state: Vec<u8>,
    timers: Vec<types::Timer>,
) -> Result<exports::Migrated, String> {
    let timers = timers.into_iter().map(|types::Timer { id, type_, due, data }| OldTimer {
        id,
        timer_type: type_,
        due: Timestamp::from_nanos(due),
        data,
    });
    let old = OldInstance { instance, version, timers: timers.collect(), state };
    let Migrated { state, timers } = S::migrate(old)?;
    let state =
        serde_json::to_vec(&state).map_err(|error| format!("the new state has no JSON form: {error}"))?;
    let timers = timers.into_iter().filter_map(|change| match change {
        TimerChange::Set { id, due, name, data } => {
            Some(types::Timer { id, type_: name.to_owned(), due: due.as_nanos(), data })
        }
        TimerChange::Cancel(_) => None,
    });
    Ok(exports::Migrated { state, timers: timers.collect() })
}

/// Makes a [`SagaMigration`](crate::SagaMigration) the plugin's export, beside
/// [`export_saga!`](crate::export_saga). Use it once in a crate.
#[macro_export]
macro_rules! export_saga_migration {
    ($saga:ty) => {
        const _: () = {
            type Exports = $crate::export::migration::Takeover<$saga>;
            const _: fn(
                ::std::string::String,
                u32,
                ::std::vec::Vec<u8>,
                ::std::vec::Vec<$crate::bindings::types::Timer>,
            ) -> ::core::result::Result<
                $crate::bindings::saga_migration::exports::pelton::plugin::saga_migration::Migrated,
                ::std::string::String,
            > = <Exports as $crate::bindings::saga_migration::exports::pelton::plugin::saga_migration::Guest>::migrate;

            #[cfg(target_family = "wasm")]
            $crate::bindings::saga_migration::export_bindings!(
                Exports with_types_in $crate::bindings::saga_migration
            );
        };
    };
}
