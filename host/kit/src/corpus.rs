//! The inputs of the rules: those of cases, those that the plugin's schemas allow, both with changes, and what follows
//! from them.

pub(crate) mod decisions;
mod frontier;
pub(crate) mod reactions;
pub(crate) mod streams;
mod variants;

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use pelton_core::message::{EventType, RecordedEvent};
use pelton_wasm::{LoadedPlugin, SchemaKind};
use serde_json::Value;

pub(crate) use decisions::Decision;
pub(crate) use reactions::Reacted;

use crate::case::GivenCommand;
use crate::generate::{self, Extent};
use crate::guest::History;

/// The most values that are made from one schema.
const OF_A_SCHEMA: usize = 4;

/// Where an input came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Case,
    Schema,
    Changed,
}

/// A command without an id and a time.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) origin: Origin,
    /// Templates of one group, but for 0, have the same value in the place of another.
    pub(crate) group: u8,
    pub(crate) entity: String,
    pub(crate) given: GivenCommand,
    /// Whether a case expects the rejection `invalid-command`.
    pub(crate) unreadable: bool,
}

/// The inputs from cases and recordings.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) histories: Vec<History>,
    pub(crate) commands: Vec<Template>,
    /// Events in order, for projections and sagas.
    pub(crate) streams: Vec<Vec<RecordedEvent>>,
}

/// All inputs of the rules.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) templates: Vec<Template>,
    pub(crate) histories: Vec<History>,
    pub(crate) decisions: Vec<Decision>,
    /// The longest history that was made from accepted commands.
    pub(crate) long: Option<History>,
    /// The events of the first streams, each used by itself.
    pub(crate) events: Vec<RecordedEvent>,
    /// Streams of events, for projections and sagas.
    pub(crate) streams: Vec<Vec<RecordedEvent>>,
    pub(crate) reactions: Vec<Reacted>,
}

/// Data that the plugin's schema of this kind and type allows.
pub(crate) fn of_schema(
    plugin: &LoadedPlugin,
    kind: SchemaKind,
    r#type: &str,
    version: u32,
    random: &mut Rng,
) -> Vec<Bytes> {
    let schema = plugin
        .schemas()
        .iter()
        .find(|schema| (schema.kind, schema.r#type.as_str(), schema.version) == (kind, r#type, version));
    let Some(schema) = schema.and_then(|schema| serde_json::from_str::<Value>(&schema.schema).ok()) else {
        return Vec::new();
    };
    let mut made: Vec<Bytes> = Vec::new();
    for n in 0..OF_A_SCHEMA * 2 {
        let extent = if n % 2 == 0 { Extent::Full } else { Extent::Least };
        if let Some(value) = generate::value(&schema, extent, random) {
            let bytes = Bytes::from(value.to_string());
            if !made.contains(&bytes) && made.len() < OF_A_SCHEMA {
                made.push(bytes);
            }
        }
    }
    made
}

/// The events of each of these types and versions. A list may be empty.
pub(crate) fn each_type<'a>(
    types: &'a [EventType],
    events: &'a [RecordedEvent],
) -> BTreeMap<(&'a str, u32), Vec<&'a RecordedEvent>> {
    let mut found: BTreeMap<(&str, u32), Vec<&RecordedEvent>> =
        types.iter().map(|t| ((t.r#type.as_str(), t.version), Vec::new())).collect();
    for event in events {
        if let Some(of_type) = found.get_mut(&(event.event.r#type.as_str(), event.event.version)) {
            of_type.push(event);
        }
    }
    found
}
