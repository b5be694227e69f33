//! `[sagas.X]`: reacts to events with commands.

use pelton_core::dead_letter::OnFailure;
use pelton_core::id::Name;

use super::role_keys::{ON_FAILURE_FORM, OnFailureKey, PLUGIN, STREAM, name_in};
use super::text::key::{Key, Or, Table};
use super::text::problem::At;
use super::text::reader::Reader;

static ON_FAILURE: OnFailureKey = Key {
    name: "on-failure",
    form: ON_FAILURE_FORM,
    default: Or(|| OnFailure::Park),
    example: "\"skip\"",
    doc: "`park`: later inputs of the instance of an input that became a dead letter wait behind it. \
          `skip`: the instance goes on without it.",
};

pub(super) static TABLE: Table = Table {
    name: "sagas",
    header: "[sagas.housekeeping]",
    doc: "A saga. It reacts to events with commands.",
    keys: &[&PLUGIN, &STREAM, &ON_FAILURE],
    tables: &[],
    free: None,
};

/// What was typed.
#[derive(Debug, Clone)]
pub(crate) struct Saga {
    pub(crate) name: At<Name>,
    pub(crate) plugin: Option<At<String>>,
    pub(super) stream: Option<At<String>>,
    on_failure: OnFailure,
}

/// What will be used.
#[derive(Debug, Clone)]
pub struct SagaConfig {
    /// The plugin that reacts.
    pub plugin: Name,
    /// Whose events it reacts to.
    pub stream: Name,
    /// Whether later inputs of an instance wait behind one that became a dead letter.
    pub on_failure: OnFailure,
}

impl Saga {
    pub(super) fn read(name: At<Name>, table: &Reader<'_>) -> Self {
        Self {
            name,
            plugin: table.at(&PLUGIN),
            stream: table.at(&STREAM),
            on_failure: table.get(&ON_FAILURE),
        }
    }

    pub(super) fn used(&self) -> Option<SagaConfig> {
        Some(SagaConfig {
            plugin: name_in(self.plugin.as_ref())?,
            stream: name_in(self.stream.as_ref())?,
            on_failure: self.on_failure,
        })
    }
}
