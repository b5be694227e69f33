//! `[projections.X]`: a projection, which keeps the view of its name.

use pelton_core::dead_letter::OnFailure;
use pelton_core::id::Name;

use super::role_keys::{ON_FAILURE_FORM, OnFailureKey, PLUGIN, STREAM, name_in};
use super::text::key::{Count, Key, Or, Table};
use super::text::problem::At;
use super::text::reader::Reader;

static BATCH: Key<Count<usize>, Or<usize>> = Key {
    name: "batch",
    form: Count::new(1..=10_000),
    default: Or(|| 4_000),
    example: "1_000",
    doc: "The most events that are folded at a time.",
};
static ON_FAILURE: OnFailureKey = Key {
    name: "on-failure",
    form: ON_FAILURE_FORM,
    default: Or(|| OnFailure::Park),
    example: "\"skip\"",
    doc: "`park`: later events of the keys of an event that became a dead letter wait behind it. \
          `skip`: the view goes on without it.",
};

pub(super) static TABLE: Table = Table {
    name: "projections",
    header: "[projections.bookings]",
    doc: "A projection. It keeps the view of its name: `GET /views/bookings/{key}`.",
    keys: &[&PLUGIN, &STREAM, &BATCH, &ON_FAILURE],
    tables: &[],
    free: None,
};
/// The table as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    pub(crate) name: At<Name>,
    pub(crate) plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    batch: usize,
    on_failure: OnFailure,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct ProjectionConfig {
    /// The projection's plugin.
    pub plugin: Name,
    /// The stream whose events it folds.
    pub stream: Name,
    /// The largest batch, in events.
    pub batch: usize,
    /// Whether later events of the same keys wait behind a dead letter.
    pub on_failure: OnFailure,
}

impl Projection {
    pub(super) fn read(name: At<Name>, table: &Reader<'_>) -> Self {
        Self {
            name,
            plugin: table.at(&PLUGIN),
            stream: table.at(&STREAM),
            batch: table.get(&BATCH),
            on_failure: table.get(&ON_FAILURE),
        }
    }

    pub(super) fn used(&self) -> Option<ProjectionConfig> {
        Some(ProjectionConfig {
            plugin: name_in(self.plugin.as_ref())?,
            stream: name_in(self.stream.as_ref())?,
            batch: self.batch,
            on_failure: self.on_failure,
        })
    }
}
