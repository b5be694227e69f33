//! A [`Projection`] as the interface `projection`.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::{Plugin, event_types, identity, read_known};
use crate::bindings::projection::exports::pelton::plugin::projection as exports;
use crate::bindings::types;
use crate::{EventMeta, Failure, Projection, log};

/// The exports of a plugin, for the host.
#[derive(Debug)]
pub struct View<P>(PhantomData<P>);

impl<P: Plugin<Role: Projection>> exports::Guest for View<P> {
    fn describe() -> exports::Descriptor {
        log::panics();
        describe::<P::Role>(P::NAME, P::VERSION)
    }

    fn keys(events: Vec<types::RecordedEvent>) -> Result<Vec<Vec<String>>, types::Failure> {
        log::panics();
        keys::<P::Role>(events).map_err(Into::into)
    }

    fn project(
        events: Vec<types::RecordedEvent>,
        views: Vec<exports::View>,
    ) -> Result<Vec<exports::View>, types::Failure> {
        log::panics();
        project::<P::Role>(events, views).map_err(Into::into)
    }
}

pub(crate) fn describe<P: Projection>(name: &str, version: &str) -> exports::Descriptor {
    exports::Descriptor {
        identity: identity(name, version),
        events: event_types::<P::Event>(),
        view_version: P::VIEW_VERSION,
        metadata: Vec::new(),
    }
}

pub(crate) fn keys<P: Projection>(events: Vec<types::RecordedEvent>) -> Result<Vec<Vec<String>>, Failure> {
    events
        .into_iter()
        .map(|recorded| {
            let (meta, data) = EventMeta::split(recorded);
            let event: Option<P::Event> = read_known(&meta, &data)?;
            Ok(event.map(|event| keys_of::<P>(&event, &meta)).unwrap_or_default())
        })
        .collect()
}

/// The keys of one event, each once, even if the author names one twice: an event is applied once to a value.
fn keys_of<P: Projection>(event: &P::Event, meta: &EventMeta) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in P::keys(event, meta) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// A value of the view while a batch is folded into it.
struct Slot<V> {
    stored: Option<Vec<u8>>,
    /// `None` until an event touches the value, because only then is it worth reading.
    folded: Option<Option<V>>,
}

/// Folds the batch and returns the values that changed.
pub(crate) fn project<P: Projection>(
    events: Vec<types::RecordedEvent>,
    views: Vec<exports::View>,
) -> Result<Vec<exports::View>, Failure> {
    let mut slots: BTreeMap<String, Slot<P::View>> =
        views.into_iter().map(|view| (view.key, Slot { stored: view.value, folded: None })).collect();
    for recorded in events {
        let (meta, data) = EventMeta::split(recorded);
        let Some(event) = read_known::<P::Event>(&meta, &data)? else { continue };
        for key in keys_of::<P>(&event, &meta) {
            let Some(slot) = slots.get_mut(&key) else {
                return Err(Failure::Other(format!(
                    "{} touches `{key}`, whose value was not given",
                    meta.label()
                )));
            };
            let before = match slot.folded.take() {
                Some(folded) => folded,
                None => read_view(&key, slot.stored.as_deref())?,
            };
            slot.folded = Some(P::apply(&key, before, &event, &meta));
        }
    }
    slots.into_iter().filter_map(|(key, slot)| changed(key, slot).transpose()).collect()
}

fn read_view<V: serde::de::DeserializeOwned>(key: &str, stored: Option<&[u8]>) -> Result<Option<V>, Failure> {
    stored.map(serde_json::from_slice).transpose().map_err(|error| {
        Failure::Other(format!(
            "the stored value of `{key}` cannot be read: {error}; a changed form needs a higher VIEW_VERSION"
        ))
    })
}

fn changed<V: serde::Serialize>(key: String, slot: Slot<V>) -> Result<Option<exports::View>, Failure> {
    let Some(folded) = slot.folded else { return Ok(None) };
    let value = folded
        .map(|view| serde_json::to_vec(&view))
        .transpose()
        .map_err(|error| Failure::Other(format!("the new value of `{key}` has no JSON form: {error}")))?;
    Ok((value != slot.stored).then_some(exports::View { key, value }))
}

/// Makes a [`Projection`](crate::Projection) the plugin's export. Use it once in a crate. The crate's name and version
/// become the plugin's; `name = "…"` sets another name.
///
/// In a native build the macro only checks the name and the type, so the crate is tested like any other.
#[macro_export]
macro_rules! export_projection {
    ($projection:ty) => {
        $crate::export_projection!($projection, name = ::core::env!("CARGO_PKG_NAME"));
    };
    ($projection:ty, name = $name:expr) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Plugin for Exported {
                type Role = $projection;
                const NAME: &'static str = $crate::export::checked_name($name);
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            }

            type Exports = $crate::export::View<Exported>;
            const _: &str = <Exported as $crate::export::Plugin>::NAME;
            const _: fn() -> $crate::bindings::projection::exports::pelton::plugin::projection::Descriptor =
                <Exports as $crate::bindings::projection::exports::pelton::plugin::projection::Guest>::describe;

            #[cfg(target_family = "wasm")]
            $crate::bindings::projection::export_bindings!(Exports with_types_in $crate::bindings::projection);
        };
    };
}
