//! `[audit]`: the outcomes of commands.

use std::time::Duration;

use super::text::key::{DAY, Key, Or, Table, Time, seconds};
use super::text::reader::Reader;

static KEEP: Key<Time, Or<Duration>> = Key {
    name: "keep",
    form: seconds(60, 3_650 * DAY),
    default: Or(|| Duration::from_secs(14 * DAY)),
    example: "\"30d\"",
    doc: "How long an outcome can be read, and how long a rejected command stays rejected when it is sent again.",
};

pub(super) static TABLE: Table = Table {
    name: "audit",
    header: "[audit]",
    doc: "The stream of outcomes.",
    keys: &[&KEEP],
    tables: &[],
    free: None,
};

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// How long an outcome can be read.
    pub keep: Duration,
}

impl AuditSettings {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        Self { keep: table.get(&KEEP) }
    }
}
