//! The role `projection`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use pelton_core::message::{Failure, RecordedEvent};
use pelton_core::plugin::{Plugin, PluginFault};
use pelton_core::projection::ports::{ProjectionDescriptor, ProjectionPlugin};
use pelton_core::projection::view::ViewChange;

use crate::bindings::folds::exports::pelton::plugin::projection::{
    Descriptor, Guest, GuestIndices, ViewParam,
};
use crate::context::CallContext;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::sandbox::{Blueprint, Sandbox};
use crate::warm::{Held, Warm};
use crate::{validate, values};

/// A plugin in the role `projection`. Clones share its warm instances.
#[derive(Clone)]
pub struct WasmProjection(Arc<Inner>);

struct Inner {
    warm: Warm<Guest>,
    indices: GuestIndices,
    descriptor: ProjectionDescriptor,
}

impl std::fmt::Debug for WasmProjection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { warm, descriptor, .. } = &*self.0;
        f.debug_tuple("WasmProjection").field(&warm.blueprint.origin).field(descriptor).finish()
    }
}

impl WasmProjection {
    /// Checks that the component keeps to the role, and asks it for its descriptor.
    pub(crate) fn new(blueprint: Blueprint) -> Result<Self, Refusal> {
        let (mut sandbox, instance) = blueprint.build()?;
        let mut role = Interface::of("projection", &blueprint, sandbox.store(), &instance)?;
        role.function("describe", Guest::func_describe)?;
        role.function("keys", Guest::func_keys)?;
        role.function("project", Guest::func_project)?;
        let indices = GuestIndices::new(&blueprint.pre).map_err(|e| Refusal::interface(&e))?;
        let guest = indices.load(sandbox.store(), &instance).map_err(|e| Refusal::interface(&e))?;
        let described = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
        let descriptor = descriptor(described).map_err(Refusal::Descriptor)?;
        Ok(Self(Arc::new(Inner { warm: Warm::new(blueprint, sandbox, guest), indices, descriptor })))
    }

    /// What one fresh instance says of itself, asked so many times.
    pub(crate) fn descriptions(&self, times: usize) -> Result<Vec<String>, PluginFault> {
        let Inner { warm, indices, .. } = &*self.0;
        warm.blueprint.descriptions(times, |sandbox, instance| {
            let guest = indices.load(sandbox.store(), instance);
            let guest = guest.map_err(|e| sandbox.refuse(format!("its exports cannot be found: {e:#}")))?;
            Ok(move |sandbox: &mut Sandbox| {
                let said = sandbox.call(&CallContext::CONSTANT, |store| guest.call_describe(store))?;
                let text = format!("{said:?}");
                descriptor(said).map(|_| text).map_err(|what| sandbox.refuse(what))
            })
        })
    }

    fn take(&self) -> Result<Held<Guest>, PluginFault> {
        self.0.warm.take(
            |sandbox, instance| self.0.indices.load(sandbox.store(), instance),
            |guest, store| guest.call_describe(store).map(drop),
        )
    }
}

fn descriptor(described: Descriptor) -> Result<ProjectionDescriptor, String> {
    let Descriptor { identity, events, view_version, metadata } = described;
    validate::descriptor_metadata(&metadata)?;
    Ok(ProjectionDescriptor {
        identity: validate::identity(identity.name, identity.version, &identity.metadata)?,
        events: validate::event_types(events.into_iter().map(|t| (t.type_, t.version)))?,
        view_version,
    })
}

impl Plugin for WasmProjection {
    fn name(&self) -> &str {
        &self.0.warm.blueprint.origin.name
    }

    fn digest(&self) -> &str {
        &self.0.warm.blueprint.origin.digest
    }
}

impl ProjectionPlugin for WasmProjection {
    fn descriptor(&self) -> &ProjectionDescriptor {
        &self.0.descriptor
    }

    async fn keys(&self, events: &[RecordedEvent]) -> Result<Result<Vec<Vec<String>>, Failure>, PluginFault> {
        if !self.0.warm.blueprint.has_wasi {
            return self.keys_of(&CallContext::of_events(events), events);
        }
        let mut keys = Vec::with_capacity(events.len());
        for event in events {
            match self.keys_of(&CallContext::of_event(event), std::slice::from_ref(event))? {
                Ok(of_event) => keys.extend(of_event),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(keys))
    }

    async fn project(
        &self,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> Result<Result<Vec<ViewChange>, Failure>, PluginFault> {
        match self.0.warm.blueprint.has_wasi {
            true => self.one_by_one(events, views),
            false => self.changes_of(&CallContext::of_events(events), events, views),
        }
    }
}

impl WasmProjection {
    fn keys_of(
        &self,
        context: &CallContext<'_>,
        events: &[RecordedEvent],
    ) -> Result<Result<Vec<Vec<String>>, Failure>, PluginFault> {
        let mut held = self.take()?;
        let extensions = values::extensions(events);
        let events = values::recorded_events(events, &extensions);
        let guest = &held.guest;
        let keys = held.sandbox.call(context, |store| guest.call_keys(store, &events))?;
        self.0.warm.put_back(held);
        Ok(keys.map_err(Failure::from))
    }

    fn changes_of(
        &self,
        context: &CallContext<'_>,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> Result<Result<Vec<ViewChange>, Failure>, PluginFault> {
        let mut held = self.take()?;
        let extensions = values::extensions(events);
        let events = values::recorded_events(events, &extensions);
        let context = context.and(views.iter().filter_map(|v| v.value.as_ref()).map(Bytes::len).sum());
        let views: Vec<_> =
            views.iter().map(|v| ViewParam { key: &v.key, value: v.value.as_deref() }).collect();
        let guest = &held.guest;
        let changes = held.sandbox.call(&context, |store| guest.call_project(store, &events, &views))?;
        self.0.warm.put_back(held);
        let changes = changes.map(|changes| {
            let owned =
                changes.into_iter().map(|v| ViewChange { key: v.key, value: v.value.map(Into::into) });
            owned.collect()
        });
        Ok(changes.map_err(Failure::from))
    }

    /// The same for a guest with a clock, which gets each event by itself: which events come together differs from host
    /// to host.
    fn one_by_one(
        &self,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> Result<Result<Vec<ViewChange>, Failure>, PluginFault> {
        let mut values: BTreeMap<&str, Option<Bytes>> =
            views.iter().map(|view| (view.key.as_str(), view.value.clone())).collect();
        let mut changed = BTreeSet::new();
        for event in events {
            let (context, event) = (CallContext::of_event(event), std::slice::from_ref(event));
            let touched = match self.keys_of(&context, event)? {
                Ok(touched) => touched.concat(),
                Err(failure) => return Ok(Err(failure)),
            };
            let touched: BTreeSet<String> = touched.into_iter().collect();
            let present = touched
                .into_iter()
                .filter_map(|key| Some(ViewChange { value: values.get(key.as_str())?.clone(), key }));
            let present: Vec<_> = present.collect();
            let changes = match self.changes_of(&context, event, &present)? {
                Ok(changes) => changes,
                Err(failure) => return Ok(Err(failure)),
            };
            let mut returned = BTreeSet::new();
            for ViewChange { key, value } in changes {
                let is_given = present.iter().any(|view| view.key == key);
                let Some(present) = values.get_mut(key.as_str()).filter(|_| is_given) else {
                    let what = format!("`project` returned the key {key:?}, which `keys` did not name");
                    return Err(self.fault(what));
                };
                if !returned.insert(key.clone()) {
                    return Err(self.fault(format!("`project` returned the key {key:?} twice")));
                }
                *present = value;
            }
            changed.append(&mut returned);
        }
        let value = |key: &str| values.get(key).cloned().flatten();
        Ok(Ok(changed.into_iter().map(|key| ViewChange { value: value(&key), key }).collect()))
    }
}
