//! Batches of events for a view.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX_ROWS;
use crate::contract::MAX_KEYS_PER_EVENT;
use crate::id::Sequence;
use crate::message::{Incoming, RecordedEvent};
use crate::plugin::PluginFault;

/// The keys that an event touches, or why the plugin cannot determine them.
pub(super) type Keys = Result<Vec<String>, PluginFault>;

/// Events that a view reads, in order, each with its message and its keys.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<RecordedEvent>,
    pub(super) messages: Vec<Incoming>,
    pub(super) keys: Vec<Keys>,
    /// The messages that hold no event, and why.
    pub(super) unreadable: Vec<(Incoming, String)>,
    /// The view's position after all of them. The view does not read the other messages up to here.
    pub(super) reaches: Sequence,
}

/// A part of a batch: some successive events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) events: &'a [RecordedEvent],
    pub(super) messages: &'a [Incoming],
    pub(super) keys: &'a [Keys],
}

impl Batch {
    pub(super) fn append(&mut self, mut later: Self) {
        self.events.append(&mut later.events);
        self.messages.append(&mut later.messages);
        self.keys.append(&mut later.keys);
        self.unreadable.append(&mut later.unreadable);
        self.reaches = later.reaches;
    }

    /// Splits off the events from this index on, if there are any. The position between the two parts belongs to the
    /// second.
    pub(super) fn split_off(&mut self, at: usize) -> Option<Self> {
        if at >= self.events.len() {
            return None;
        }
        let events = self.events.split_off(at);
        let messages = self.messages.split_off(at);
        let last = self.events.last().map_or(Sequence::NONE, |event| event.sequence);
        let reaches = std::mem::replace(&mut self.reaches, last);
        Some(Self { events, messages, reaches, ..Self::default() })
    }

    pub(super) fn all(&self) -> Part<'_> {
        Part { events: &self.events, messages: &self.messages, keys: &self.keys }
    }
}

impl Part<'_> {
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        let (events, messages, keys) =
            (self.events.split_at(at), self.messages.split_at(at), self.keys.split_at(at));
        (
            Self { events: events.0, messages: messages.0, keys: keys.0 },
            Self { events: events.1, messages: messages.1, keys: keys.1 },
        )
    }

    /// The number of the first events that can be folded together, at most `max_events`: their keys are determined and
    /// not parked, and one commit can hold the rows that they touch.
    pub(super) fn fitting(self, max_events: usize, parked: &BTreeMap<String, Sequence>) -> usize {
        const { assert!(MAX_KEYS_PER_EVENT <= MAX_ROWS) };
        let mut touched = BTreeSet::new();
        for (count, keys) in self.keys.iter().take(max_events).enumerate() {
            let Ok(keys) = keys else { return count };
            touched.extend(keys);
            let waits = !parked.is_empty() && keys.iter().any(|key| parked.contains_key(key));
            if waits || touched.len() > MAX_ROWS {
                return count;
            }
        }
        self.keys.len().min(max_events)
    }
}
