//! What a saga does about an event, asked as the host asks.

use pelton_core::id::InstanceId;
use pelton_core::message::{Failure, RecordedEvent};
use pelton_core::saga::model::{Correlation, InputContext, Reaction, SagaInput};
use pelton_core::saga::ports::SagaPlugin;
use pelton_wasm::WasmSaga;

use crate::view::words;

/// The instances that an event concerns.
pub(crate) async fn concerns(saga: &WasmSaga, event: &RecordedEvent) -> Result<Vec<Correlation>, String> {
    saga.correlate(event).await.map_err(|fault| fault.what)?.map_err(words)
}

/// What an instance in this state does about an event, or how it fails.
pub(crate) async fn reacts(
    saga: &WasmSaga,
    instance: &str,
    state: Option<&[u8]>,
    event: &RecordedEvent,
) -> Result<Result<Reaction, Failure>, String> {
    let id = InstanceId::new(instance).map_err(|error| format!("the instance {instance:?} {error}"))?;
    let (input, context) = (SagaInput::Event(event.clone()), InputContext::of_event(event));
    saga.react(&id, state, &input, &context).await.map_err(|fault| fault.what)
}
