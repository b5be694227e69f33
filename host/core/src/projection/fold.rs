//! From events to new values: the keys that they touch, the present values, and the plugin's answer.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::Instrument;

use super::pipeline::{Changes, Pipeline};
use super::{ProjectionFlow, ViewError};
use crate::contract::{MAX_KEYS_PER_EVENT, MAX_VALUE_BYTES};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::RecordedEvent;
use crate::plugin::PluginFault;
use crate::projection::ports::{ProjectionPlugin, ViewStore};
use crate::projection::view::{Checkpoint, ViewChange, ViewKey};
use crate::telemetry;

/// The keys that each of the events touches.
pub(super) async fn keys<P: ProjectionPlugin>(
    plugin: &P,
    events: &[RecordedEvent],
) -> Result<Vec<Vec<String>>, PluginFault> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let keys = plugin.keys(events).await?.map_err(|failure| failure.into_fault(plugin))?;
    if keys.len() != events.len() {
        return Err(plugin.fault(format!("`keys` answered {} lists to {} events", keys.len(), events.len())));
    }
    match keys.iter().map(Vec::len).find(|n| *n > MAX_KEYS_PER_EVENT) {
        Some(many) => Err(plugin.fault(format!(
            "`keys` named {many} keys for one event; at most {MAX_KEYS_PER_EVENT} are allowed"
        ))),
        None => Ok(keys),
    }
}

impl<P: ProjectionPlugin, V: ViewStore, L: Retries> ProjectionFlow<P, V, L> {
    /// Folds events that touch these keys into the view, which is at `position` then. If it fails, it has
    /// done nothing.
    pub(super) async fn fold(
        &self,
        events: &[RecordedEvent],
        keys: impl Iterator<Item = &String>,
        position: Sequence,
        pipeline: &mut Pipeline<V>,
    ) -> Result<(), ViewError> {
        let changes = self.changes(events, keys, pipeline).await?;
        self.commit(changes, Checkpoint { position, ..pipeline.checkpoint().clone() }, pipeline).await
    }

    /// The new values of events that touch these keys.
    pub(super) async fn changes(
        &self,
        events: &[RecordedEvent],
        keys: impl Iterator<Item = &String>,
        pipeline: &mut Pipeline<V>,
    ) -> Result<Changes, ViewError> {
        let mut rows = BTreeMap::new();
        for key in keys {
            if !rows.contains_key(key.as_str()) {
                let row = ViewKey::new(key).map_err(|what| self.plugin.fault(what))?;
                rows.insert(key.as_str(), row);
            }
        }
        let values = pipeline.values(&rows.values().collect::<Vec<_>>()).await?;
        let present =
            rows.keys().zip(values).map(|(key, value)| ViewChange { key: (*key).to_owned(), value });
        let views: Vec<_> = present.collect();
        let began = Instant::now();
        let span = telemetry::view_events(&self.name, &*self.plugin, events);
        let changes = self.plugin.project(events, &views).instrument(span).await?;
        let changes = changes.map_err(|failure| failure.into_fault(&*self.plugin))?;
        pipeline.batch_size.took(events.len(), began.elapsed());
        Ok(self.check(changes, &views, rows)?)
    }

    /// The changes under their rows. Fails if the plugin changes a row that is not among `rows`, the ones it was given.
    fn check(
        &self,
        changes: Vec<ViewChange>,
        given: &[ViewChange],
        mut rows: BTreeMap<&str, ViewKey>,
    ) -> Result<Changes, PluginFault> {
        let checked = changes.into_iter().map(|ViewChange { key, value }| {
            let Some(row) = rows.remove(key.as_str()) else {
                let what = match given.iter().any(|view| view.key == key) {
                    true => format!("`project` returned the key {key:?} twice"),
                    false => format!("`project` returned the key {key:?}, which `keys` did not name"),
                };
                return Err(self.plugin.fault(what));
            };
            match value.as_ref().map(bytes::Bytes::len) {
                Some(bytes) if bytes > MAX_VALUE_BYTES => Err(self.plugin.fault(format!(
                    "the value of {key:?} has {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed"
                ))),
                _ => Ok((row, value)),
            }
        });
        checked.collect()
    }
}
