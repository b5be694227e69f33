//! What rules are tried on: first what cases say, then what the plugin's schemas allow, then both changed, and what
//! follows from them.

pub(crate) mod decisions;
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

/// How many values of one schema are made.
const OF_A_SCHEMA: usize = 4;

/// Where an input came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Case,
    Schema,
    Changed,
}

/// A command without an id, a time and a place.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) origin: Origin,
    pub(crate) entity: String,
    pub(crate) given: GivenCommand,
    /// Whether a case expects it to be rejected as unreadable.
    pub(crate) unreadable: bool,
}

/// What the cases say.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) histories: Vec<History>,
    pub(crate) commands: Vec<Template>,
    /// The events of each case that a projection or saga reads, in order.
    pub(crate) streams: Vec<Vec<RecordedEvent>>,
}

/// All that rules are tried on.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) templates: Vec<Template>,
    pub(crate) histories: Vec<History>,
    pub(crate) decisions: Vec<Decision>,
    /// The longest history that could be made of accepted commands.
    pub(crate) long: Option<History>,
    /// Events, each by itself, of every type and version that there is one of.
    pub(crate) events: Vec<RecordedEvent>,
    /// Events in an order in which they may happen.
    pub(crate) streams: Vec<Vec<RecordedEvent>>,
    pub(crate) reactions: Vec<Reacted>,
}

/// The data that the plugin's schemas allow for this kind and type.
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

/// One event of each of these types and versions, as far as there is one.
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
