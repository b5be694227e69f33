//! A view in memory. The projection folds events into it as under the host.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use pelton_core::contract::{MAX_KEYS_PER_EVENT, MAX_VALUE_BYTES};
use pelton_core::message::RecordedEvent;
use pelton_core::projection::view::{ViewChange, ViewKey};

use crate::guest::{Projection, words};

/// The keys of a view with their values.
pub(crate) type View = BTreeMap<String, Bytes>;

/// Why a projection did not fold events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It trapped, or ran into a limit.
    Broke(String),
    /// It returned a failure.
    Failed(String),
    /// Its answer breaks the contract.
    Wrong(String),
    /// The host cannot use a key or a value, because of what the event says: too many, too large, or with odd characters.
    Unusable(String),
}

impl Stop {
    pub(crate) fn what(&self) -> &str {
        match self {
            Self::Broke(what) | Self::Failed(what) | Self::Wrong(what) | Self::Unusable(what) => what,
        }
    }
}

/// The keys that each event touches.
pub(crate) fn keys(projection: &Projection<'_>, events: &[RecordedEvent]) -> Result<Vec<Vec<String>>, Stop> {
    let keys = projection.keys(events).map_err(|fault| Stop::Broke(format!("keys: {}", fault.what)))?;
    let keys = keys.map_err(|failure| Stop::Failed(format!("keys: {}", words(&failure))))?;
    if keys.len() != events.len() {
        return Err(Stop::Wrong(format!("`keys` answers {} events with {} lists", events.len(), keys.len())));
    }
    for (event, keys) in events.iter().zip(&keys) {
        if keys.len() > MAX_KEYS_PER_EVENT {
            let (r#type, count) = (&event.event.r#type, keys.len());
            return Err(Stop::Unusable(format!(
                "`keys` names {count} keys for {type}; at most {MAX_KEYS_PER_EVENT} are allowed"
            )));
        }
        if let Some(wrong) = keys.iter().find_map(|key| ViewKey::new(key).err()) {
            return Err(Stop::Unusable(format!("`keys` for {}: {wrong}", event.event.r#type)));
        }
    }
    Ok(keys)
}

/// The projection's changes for a batch of events. Keys are passed in the order in which events name them, or in
/// reverse.
pub(crate) fn changes(
    projection: &Projection<'_>,
    events: &[RecordedEvent],
    view: &View,
    reversed: bool,
) -> Result<Vec<ViewChange>, Stop> {
    let mut touched: Vec<String> = Vec::new();
    for key in keys(projection, events)?.concat() {
        if !touched.contains(&key) {
            touched.push(key);
        }
    }
    if reversed {
        touched.reverse();
    }
    let given: Vec<_> =
        touched.into_iter().map(|key| ViewChange { value: view.get(&key).cloned(), key }).collect();
    let changes = projection
        .project(events, &given)
        .map_err(|fault| Stop::Broke(format!("project: {}", fault.what)))?;
    let mut changes = changes.map_err(|failure| Stop::Failed(format!("project: {}", words(&failure))))?;
    let mut seen = HashSet::new();
    for change in &changes {
        if given.iter().all(|given| given.key != change.key) {
            return Err(Stop::Wrong(format!(
                "it writes the key {:?}, which `keys` did not name",
                change.key
            )));
        }
        if !seen.insert(change.key.as_str()) {
            return Err(Stop::Wrong(format!("it writes the key {:?} twice in one answer", change.key)));
        }
        if let Some(bytes) = change.value.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_VALUE_BYTES) {
            return Err(Stop::Unusable(format!(
                "its value under {:?} has {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed",
                change.key
            )));
        }
    }
    // Their order means nothing.
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(changes)
}

/// Writes changes into a view.
pub(crate) fn write(view: &mut View, changes: Vec<ViewChange>) {
    for ViewChange { key, value } in changes {
        match value {
            Some(value) => drop(view.insert(key, value)),
            None => drop(view.remove(&key)),
        }
    }
}

/// Folds batches into a view.
pub(crate) fn fold<'a>(
    projection: &Projection<'_>,
    view: &mut View,
    batches: impl IntoIterator<Item = &'a [RecordedEvent]>,
) -> Result<(), Stop> {
    for batch in batches {
        let changes = changes(projection, batch, view, false)?;
        write(view, changes);
    }
    Ok(())
}

/// The first difference of two views.
pub(crate) fn difference(expected: &View, got: &View) -> Option<String> {
    let shown = |value: Option<&Bytes>| match value {
        Some(value) => String::from_utf8_lossy(value).chars().take(200).collect::<String>(),
        None => "nothing".to_owned(),
    };
    let mut keys: Vec<&String> = expected.keys().chain(got.keys()).collect();
    keys.sort();
    keys.dedup();
    let key = keys.into_iter().find(|key| expected.get(*key) != got.get(*key))?;
    let (expected, got) = (shown(expected.get(key)), shown(got.get(key)));
    Some(format!("/{key}: {expected} → {got}"))
}
