//! Calls into a plugin, one after the other, with their times.
//!
//! A call runs on the thread that makes it. Nothing here waits: the ports' futures are ready when they are polled.

use futures::executor::block_on;
use pelton_core::command::ports::{EntityInstance, HandlerDescriptor, HandlerPlugin, Isolation};
use pelton_core::id::InstanceId;
use pelton_core::message::{Command, Failure, NewEvent, RecordedEvent, Rejection};
use pelton_core::plugin::{FaultKind, Plugin, PluginFault};
use pelton_core::projection::ports::{ProjectionDescriptor, ProjectionPlugin};
use pelton_core::projection::view::ViewChange;
use pelton_core::saga::model::{Correlation, InputContext, Reaction, SagaInput, Timer};
use pelton_core::saga::ports::{Migration, SagaDescriptor, SagaPlugin};
use pelton_wasm::{WasmEntity, WasmHandler, WasmProjection, WasmSaga};

use crate::inputs;
use crate::meter::Meter;

/// A handler's answer to a command.
pub(crate) type Answer = Result<Result<Vec<NewEvent>, Rejection>, PluginFault>;

/// An entity's id and its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) entity: String,
    pub(crate) events: Vec<RecordedEvent>,
}

impl History {
    pub(crate) fn first(&self, count: usize) -> Self {
        Self { entity: self.entity.clone(), events: self.events[..count].to_vec() }
    }

    pub(crate) fn empty(&self) -> Self {
        self.first(0)
    }
}

/// A command handler.
#[derive(Clone)]
pub(crate) struct Handler<'a> {
    wasm: WasmHandler,
    meter: &'a Meter,
}

impl<'a> Handler<'a> {
    pub(crate) fn new(wasm: &WasmHandler, meter: &'a Meter) -> Self {
        Self { wasm: wasm.clone(), meter }
    }

    pub(crate) fn descriptor(&self) -> &HandlerDescriptor {
        self.wasm.descriptor()
    }

    /// The same plugin with instances of its own.
    pub(crate) fn apart(&self) -> Self {
        Self { wasm: self.wasm.for_shard(), meter: self.meter }
    }

    pub(crate) fn create(&self, id: &str, isolation: Isolation) -> Result<Entity<'a>, PluginFault> {
        let wasm = self.meter.time("constructor", || block_on(self.wasm.create(id, isolation)))?;
        Ok(Entity { wasm, meter: self.meter })
    }

    pub(crate) fn restore(
        &self,
        id: &str,
        snapshot: &[u8],
        isolation: Isolation,
    ) -> Result<Result<Entity<'a>, String>, PluginFault> {
        let restored = self.meter.time("restore", || block_on(self.wasm.restore(id, snapshot, isolation)))?;
        Ok(restored.map(|wasm| Entity { wasm, meter: self.meter }))
    }

    /// An entity that has folded this history.
    pub(crate) fn folded(&self, isolation: Isolation, history: &History) -> Result<Entity<'a>, PluginFault> {
        let entity = inputs::entity(&history.entity).map_err(|what| self.wasm.fault(what))?;
        let mut entity = self.create(entity.id(), isolation)?;
        entity.evolve(&history.events)?;
        Ok(entity)
    }

    /// The plugin's decision on this history.
    pub(crate) fn decided(&self, isolation: Isolation, history: &History, command: &Command) -> Answer {
        self.folded(isolation, history)?.decide(command)
    }

    /// The plugin's decision in an instance that has done nothing else.
    pub(crate) fn reference(&self, history: &History, command: &Command) -> Answer {
        self.decided(Isolation::Alone, history, command)
    }
}

/// A live entity.
pub(crate) struct Entity<'a> {
    wasm: WasmEntity,
    meter: &'a Meter,
}

impl Entity<'_> {
    pub(crate) fn evolve(&mut self, events: &[RecordedEvent]) -> Result<(), PluginFault> {
        if events.is_empty() {
            return Ok(());
        }
        self.meter.time("evolve", || block_on(self.wasm.evolve(events)))
    }

    pub(crate) fn decide(&mut self, command: &Command) -> Answer {
        let answer = self.meter.time("decide", || block_on(self.wasm.decide(command)));
        if let Ok(Ok(events)) = &answer {
            self.meter.decided(events);
        }
        answer
    }

    pub(crate) fn snapshot(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let snapshot = self.meter.time("snapshot", || block_on(self.wasm.snapshot()))?;
        if let Some(state) = &snapshot {
            self.meter.snapshot(state);
        }
        Ok(snapshot)
    }
}

/// A projection.
#[derive(Clone)]
pub(crate) struct Projection<'a> {
    wasm: WasmProjection,
    meter: &'a Meter,
}

impl<'a> Projection<'a> {
    pub(crate) fn new(wasm: &WasmProjection, meter: &'a Meter) -> Self {
        Self { wasm: wasm.clone(), meter }
    }

    pub(crate) fn descriptor(&self) -> &ProjectionDescriptor {
        self.wasm.descriptor()
    }

    pub(crate) fn keys(
        &self,
        events: &[RecordedEvent],
    ) -> Result<Result<Vec<Vec<String>>, Failure>, PluginFault> {
        self.meter.time("keys", || block_on(self.wasm.keys(events)))
    }

    pub(crate) fn project(
        &self,
        events: &[RecordedEvent],
        views: &[ViewChange],
    ) -> Result<Result<Vec<ViewChange>, Failure>, PluginFault> {
        let projected = self.meter.time("project", || block_on(self.wasm.project(events, views)));
        if let Ok(Ok(changes)) = &projected {
            self.meter.projected(changes);
        }
        projected
    }
}

/// A saga.
#[derive(Clone)]
pub(crate) struct Saga<'a> {
    wasm: WasmSaga,
    meter: &'a Meter,
}

impl<'a> Saga<'a> {
    pub(crate) fn new(wasm: &WasmSaga, meter: &'a Meter) -> Self {
        Self { wasm: wasm.clone(), meter }
    }

    pub(crate) fn descriptor(&self) -> &SagaDescriptor {
        self.wasm.descriptor()
    }

    pub(crate) fn correlate(
        &self,
        event: &RecordedEvent,
    ) -> Result<Result<Vec<Correlation>, Failure>, PluginFault> {
        self.meter.time("correlate", || block_on(self.wasm.correlate(event)))
    }

    pub(crate) fn react(
        &self,
        instance: &str,
        state: Option<&[u8]>,
        input: &SagaInput,
        context: &InputContext,
    ) -> Result<Result<Reaction, Failure>, PluginFault> {
        let id = InstanceId::new(instance)
            .map_err(|error| self.wasm.fault(format!("the instance id {instance:?} {error}")))?;
        let reacted = self.meter.time("react", || block_on(self.wasm.react(&id, state, input, context)));
        if let Ok(Ok(reaction)) = &reacted {
            self.meter.reacted(reaction);
        }
        reacted
    }

    pub(crate) fn migrate(
        &self,
        instance: &str,
        from_version: u32,
        state: &[u8],
        timers: &[Timer],
    ) -> Result<Migration, PluginFault> {
        let id = InstanceId::new(instance)
            .map_err(|error| self.wasm.fault(format!("the instance id {instance:?} {error}")))?;
        self.meter.time("migrate", || block_on(self.wasm.migrate(&id, from_version, state, timers)))
    }
}

/// Whether the plugin broke, and did not merely refuse the input.
pub(crate) fn broke(fault: &PluginFault) -> bool {
    !matches!(fault.kind, FaultKind::Refused | FaultKind::RetryAfter(_))
        || fault.what.contains("handed the host more than")
        || fault.what.contains("broke the rules of the component model")
}

/// A failure in words.
pub(crate) fn words(failure: &Failure) -> String {
    match failure {
        Failure::Invalid(why) | Failure::Other(why) => why.clone(),
        Failure::Retry(_) => "it asks for another try".to_owned(),
    }
}
