//! A view in memory, kept by a projection as the host has it kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use pelton_core::message::{Failure, RecordedEvent};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::projection::view::ViewChange;
use pelton_wasm::WasmProjection;

/// The keys of a view with their values.
pub(crate) type View = BTreeMap<String, Bytes>;

/// What the projection said, where it did not do what was asked.
pub(crate) fn words(failure: Failure) -> String {
    match failure {
        Failure::Invalid(why) | Failure::Other(why) => why,
        Failure::Retry(_) => "it asks for another try".to_owned(),
    }
}

/// The keys that each event touches.
pub(crate) async fn keys(
    projection: &WasmProjection,
    events: &[RecordedEvent],
) -> Result<Vec<Vec<String>>, String> {
    let keys = projection.keys(events).await.map_err(|fault| fault.what)?.map_err(words)?;
    match keys.len() == events.len() {
        true => Ok(keys),
        false => Err(format!("`keys` answered {} lists to {} events", keys.len(), events.len())),
    }
}

/// What the projection changes for a batch of events.
pub(crate) async fn changes(
    projection: &WasmProjection,
    events: &[RecordedEvent],
    view: &View,
) -> Result<Vec<ViewChange>, String> {
    let mut touched: Vec<String> = keys(projection, events).await?.concat();
    touched.sort();
    touched.dedup();
    let given: Vec<_> =
        touched.into_iter().map(|key| ViewChange { value: view.get(&key).cloned(), key }).collect();
    let changes = projection.project(events, &given).await.map_err(|fault| fault.what)?.map_err(words)?;
    match changes.iter().find(|change| given.iter().all(|given| given.key != change.key)) {
        Some(foreign) => Err(format!("it writes the key {:?}, which `keys` did not name", foreign.key)),
        None => Ok(changes),
    }
}

/// Folds batches into a view.
pub(crate) async fn fold<'a>(
    projection: &WasmProjection,
    batches: impl IntoIterator<Item = &'a [RecordedEvent]>,
) -> Result<View, String> {
    let mut view = View::new();
    for batch in batches {
        for ViewChange { key, value } in changes(projection, batch, &view).await? {
            match value {
                Some(value) => drop(view.insert(key, value)),
                None => drop(view.remove(&key)),
            }
        }
    }
    Ok(view)
}
