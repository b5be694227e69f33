//! The optional interface `schemas`: what a plugin's data looks like.

use std::collections::HashSet;
use std::fmt;

use pelton_core::command::ports::{HandlerDescriptor, HandlerPlugin};
use pelton_core::contract::{MAX_SCHEMA_BYTES, MAX_SCHEMAS};
use pelton_core::message::EventType;
use pelton_core::projection::ports::{ProjectionDescriptor, ProjectionPlugin};
use pelton_core::saga::ports::{SagaDescriptor, SagaPlugin};
use pelton_core::text::excerpt;

use crate::bindings::schemas::exports::pelton::plugin::schemas::{self as guest, Guest, GuestIndices};
use crate::context::CallContext;
use crate::load::LoadedPlugin;
use crate::refusal::Refusal;
use crate::role::Interface;
use crate::sandbox::Blueprint;
use crate::validate;

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaKind {
    /// The data of a command.
    Command,
    /// The data of an event.
    Event,
    /// The data of a timer.
    Timer,
    /// The values of a view.
    View,
    /// The snapshots of an entity.
    EntityState,
    /// The state of a saga's instance.
    InstanceState,
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Event => "event",
            Self::Timer => "timer",
            Self::View => "view",
            Self::EntityState => "entity state",
            Self::InstanceState => "instance state",
        })
    }
}

/// The form of one kind of a plugin's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// What it describes.
    pub kind: SchemaKind,
    /// The type of the command, event or timer; empty otherwise.
    pub r#type: String,
    /// The version of the event, view or state; 1 for a command.
    pub version: u32,
    /// A JSON Schema, as text.
    pub schema: String,
}

/// Asks the component for its schemas, and checks them against what its roles have said of themselves.
pub(crate) fn read(blueprint: &Blueprint, plugin: &LoadedPlugin) -> Result<Vec<Schema>, Refusal> {
    let (mut sandbox, instance) = blueprint.build()?;
    let mut interface = Interface::of("schemas", blueprint, sandbox.store(), &instance)?;
    interface.function("schemas", Guest::func_schemas)?;
    let indices = GuestIndices::new(&blueprint.pre).map_err(|e| Refusal::interface(&e))?;
    let guest = indices.load(sandbox.store(), &instance).map_err(|e| Refusal::interface(&e))?;
    let given = sandbox.call(&CallContext::CONSTANT, |store| guest.call_schemas(store))?;
    let known = Known {
        handler: plugin.handler().map(HandlerPlugin::descriptor),
        projection: plugin.projection().map(ProjectionPlugin::descriptor),
        saga: plugin.saga().map(SagaPlugin::descriptor),
    };
    check(given, &known).map_err(Refusal::Schemas)
}

/// What the roles of a plugin have said of themselves.
#[derive(Default)]
struct Known<'a> {
    handler: Option<&'a HandlerDescriptor>,
    projection: Option<&'a ProjectionDescriptor>,
    saga: Option<&'a SagaDescriptor>,
}

impl Known<'_> {
    /// Whether a descriptor lists what the schema describes.
    fn has(&self, schema: &Schema) -> bool {
        let Schema { kind, r#type, version, .. } = schema;
        let has_type = |types: &[String]| types.contains(r#type);
        let has_event = |types: &[EventType]| {
            types.is_empty() || types.iter().any(|t| t.r#type == *r#type && t.version == *version)
        };
        match kind {
            SchemaKind::Command => {
                let commands = [self.handler.map(|d| &d.commands), self.saga.map(|d| &d.commands)];
                *version == 1 && commands.into_iter().flatten().any(|types| has_type(types))
            }
            SchemaKind::Event => {
                self.handler.is_some_and(|d| !d.folds.is_empty() && has_event(&d.folds))
                    || self.projection.is_some_and(|d| has_event(&d.events))
                    || self.saga.is_some_and(|d| has_event(&d.events))
            }
            SchemaKind::Timer => {
                self.saga.is_some_and(|d| has_type(&d.timers) && d.state_version == *version)
            }
            SchemaKind::View => {
                r#type.is_empty() && self.projection.is_some_and(|d| d.view_version == *version)
            }
            SchemaKind::EntityState => {
                r#type.is_empty() && self.handler.is_some_and(|d| d.state_version == *version)
            }
            SchemaKind::InstanceState => {
                r#type.is_empty() && self.saga.is_some_and(|d| d.state_version == *version)
            }
        }
    }
}

/// Checks what a plugin has said. The error says what is wrong.
fn check(given: Vec<guest::Schema>, known: &Known<'_>) -> Result<Vec<Schema>, String> {
    validate::at_most("it", given.len(), MAX_SCHEMAS, "schemas")?;
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(given.len());
    for guest::Schema { kind, type_, version, schema } in given {
        let schema = Schema { kind: kind.into(), r#type: type_, version, schema };
        let named = format!("the schema of {} {:?} version {version}", schema.kind, excerpt(&schema.r#type));
        if !known.has(&schema) {
            return Err(format!("{named} describes what none of its descriptors lists"));
        }
        if !seen.insert((schema.kind, schema.r#type.clone(), version)) {
            return Err(format!("{named} is there twice"));
        }
        validate::at_most(&named, schema.schema.len(), MAX_SCHEMA_BYTES, "bytes")?;
        match serde_json::from_str(&schema.schema) {
            Ok(serde_json::Value::Object(_) | serde_json::Value::Bool(_)) => checked.push(schema),
            Ok(_) => return Err(format!("{named} is JSON, and neither an object nor true or false")),
            Err(error) => return Err(format!("{named} is not JSON: {error}")),
        }
    }
    Ok(checked)
}

impl From<guest::Kind> for SchemaKind {
    fn from(kind: guest::Kind) -> Self {
        match kind {
            guest::Kind::Command => Self::Command,
            guest::Kind::Event => Self::Event,
            guest::Kind::Timer => Self::Timer,
            guest::Kind::View => Self::View,
            guest::Kind::EntityState => Self::EntityState,
            guest::Kind::InstanceState => Self::InstanceState,
        }
    }
}

#[cfg(test)]
mod tests {
    use pelton_core::plugin::Identity;

    use super::*;

    fn given(kind: guest::Kind, r#type: &str, version: u32, schema: &str) -> guest::Schema {
        guest::Schema { kind, type_: r#type.to_owned(), version, schema: schema.to_owned() }
    }

    #[test]
    fn a_schema_is_json_of_what_a_descriptor_lists_and_there_once() {
        let identity = Identity { name: "p".to_owned(), version: "1".to_owned() };
        let done = EventType { r#type: "done".to_owned(), version: 2 };
        let handler = HandlerDescriptor {
            identity: identity.clone(),
            commands: vec!["do".to_owned()],
            emits: Vec::new(),
            folds: vec![done.clone()],
            rejections: Vec::new(),
            state_version: 3,
            decides_ahead: false,
        };
        let saga = SagaDescriptor {
            identity,
            events: vec![done],
            commands: vec!["undo".to_owned()],
            timers: vec!["late".to_owned()],
            takes_outcomes: false,
            state_version: 7,
            migrates: false,
        };
        let known = Known { handler: Some(&handler), saga: Some(&saga), ..Known::default() };
        use guest::Kind;
        let all = vec![
            given(Kind::Command, "do", 1, "{}"),
            given(Kind::Command, "undo", 1, "true"),
            given(Kind::Event, "done", 2, "{}"),
            given(Kind::Timer, "late", 7, "{}"),
            given(Kind::EntityState, "", 3, "{}"),
            given(Kind::InstanceState, "", 7, "{}"),
        ];
        assert_eq!(check(all, &known).expect("allowed").len(), 6);
        let large = format!("\"{}\"", "x".repeat(MAX_SCHEMA_BYTES));
        for (wrong, expected) in [
            (given(Kind::Command, "else", 1, "{}"), "command \"else\" version 1 describes what none"),
            (given(Kind::Command, "do", 2, "{}"), "version 2 describes what none"),
            (given(Kind::Event, "done", 1, "{}"), "version 1 describes what none"),
            (given(Kind::View, "", 1, "{}"), "view \"\" version 1 describes what none"),
            (given(Kind::EntityState, "x", 3, "{}"), "describes what none"),
            (given(Kind::InstanceState, "", 3, "{}"), "describes what none"),
            (given(Kind::Command, "do", 1, "{"), "is not JSON: EOF"),
            (given(Kind::Command, "do", 1, "1"), "neither an object nor"),
            (given(Kind::Command, "do", 1, &large), "has 65538 bytes; at most 65536"),
        ] {
            let refused = check(vec![wrong], &known).expect_err(expected);
            assert!(refused.contains(expected), "{expected:?} is not said in: {refused}");
        }
        let twice =
            check(vec![given(Kind::Command, "do", 1, "{}"), given(Kind::Command, "do", 1, "{}")], &known);
        assert!(twice.expect_err("twice").contains("is there twice"));
    }
}
