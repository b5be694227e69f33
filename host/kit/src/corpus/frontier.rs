//! The histories that are still to be looked at.

use std::collections::BTreeMap;

use pelton_core::message::RecordedEvent;

use crate::guest::History;

/// The most histories with events of the same types, in the same order.
const OF_THE_SAME_TYPES: usize = 3;

/// Histories in the order in which they were found, each with the group of the template that led to it.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    most: usize,
    /// How many there are of each entity with events of the same types.
    alike: BTreeMap<(String, Vec<String>), usize>,
    pub(crate) queue: Vec<(History, u8)>,
}

impl Frontier {
    pub(crate) fn of(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Adds a history, unless there are enough, or enough that are like it.
    pub(crate) fn add(&mut self, history: History, group: u8) {
        let r#type = |event: &RecordedEvent| format!("{} {}", event.event.r#type, event.event.version);
        let types = history.events.iter().map(r#type).collect();
        let alike = self.alike.entry((history.entity.clone(), types)).or_default();
        let most = if history.events.is_empty() { 1 } else { OF_THE_SAME_TYPES };
        if self.queue.len() < self.most && *alike < most {
            *alike += 1;
            self.queue.push((history, group));
        }
    }
}
