//! `[audit]`: the history of what operators and hosts did.

use std::time::Duration;

use super::text::key::{DAY, Key, Or, Table, Time, seconds};
use super::text::reader::Reader;

static KEEP: Key<Time, Or<Duration>> = Key {
    name: "keep",
    form: seconds(60, 3_650 * DAY),
    default: Or(|| Duration::from_secs(14 * DAY)),
    example: "\"30d\"",
    doc: "How long it can be read what happened to a dead letter.",
};

pub(super) static TABLE: Table = Table {
    name: "audit",
    header: "[audit]",
    doc: "The stream that says what happened to dead letters, and who did it.",
    keys: &[&KEEP],
    tables: &[],
    free: None,
};

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The time that an entry is kept.
    pub keep: Duration,
}

impl AuditSettings {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        Self { keep: table.get(&KEEP) }
    }
}
