//! `[shutdown]`: how a host stops.

use std::time::Duration;

use super::text::key::{Key, Or, Table, Time, milliseconds};
use super::text::reader::Reader;

static DEADLINE: Key<Time, Or<Duration>> = Key {
    name: "deadline",
    form: milliseconds(100, 3_600_000),
    default: Or(|| Duration::from_secs(10)),
    example: "\"20s\"",
    doc: "How long what is in hand may take to finish. What is left comes again, at this or another host.",
};

pub(super) static TABLE: Table = Table {
    name: "shutdown",
    header: "[shutdown]",
    doc: "How a host stops.",
    keys: &[&DEADLINE],
    tables: &[],
    free: None,
};

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// The time within which work in progress has to finish.
    pub deadline: Duration,
}

impl ShutdownSettings {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        Self { deadline: table.get(&DEADLINE) }
    }
}
