//! The schemas of a plugin's data, made from its types by `schemars`.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::bindings::schemas::exports::pelton::plugin::schemas::{Kind, Schema};
use crate::codec::split_variant;
use crate::{CommandHandler, Projection, Saga};

/// The commands and events of a command handler.
#[must_use]
pub fn of_command_handler<H: CommandHandler<Command: JsonSchema, Event: JsonSchema>>() -> Vec<Schema> {
    let commands = variants::<H::Command>().into_iter().map(|(name, schema)| command(&name, &schema));
    commands.chain(events::<H::Event>()).collect()
}

/// The snapshots of a command handler that takes them as JSON.
#[must_use]
pub fn of_snapshots<H: CommandHandler + JsonSchema>() -> Vec<Schema> {
    vec![whole::<H>(Kind::EntityState, H::STATE_VERSION)]
}

/// The events and the values of a projection.
#[must_use]
pub fn of_projection<P: Projection<Event: JsonSchema, View: JsonSchema>>() -> Vec<Schema> {
    events::<P::Event>().chain([whole::<P::View>(Kind::View, P::VIEW_VERSION)]).collect()
}

/// The events, commands, timers and states of a saga.
#[must_use]
pub fn of_saga<S>() -> Vec<Schema>
where
    S: Saga<Event: JsonSchema, Command: JsonSchema, Timer: JsonSchema, State: JsonSchema>,
{
    let commands = variants::<S::Command>().into_iter().map(|(name, schema)| command(&name, &schema));
    let timers = variants::<S::Timer>().into_iter().map(|(name, schema)| Schema {
        kind: Kind::Timer,
        type_: name,
        version: S::STATE_VERSION,
        schema: schema.to_string(),
    });
    let state = whole::<S::State>(Kind::InstanceState, S::STATE_VERSION);
    events::<S::Event>().chain(commands).chain(timers).chain([state]).collect()
}

impl JsonSchema for crate::NoTimers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoTimers".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        false.into()
    }
}

fn command(name: &str, schema: &Value) -> Schema {
    Schema { kind: Kind::Command, type_: name.to_owned(), version: 1, schema: schema.to_string() }
}

fn events<E: JsonSchema>() -> impl Iterator<Item = Schema> {
    variants::<E>().into_iter().map(|(name, schema)| {
        let (kind, version) = split_variant(&name);
        Schema { kind: Kind::Event, type_: kind.to_owned(), version, schema: schema.to_string() }
    })
}

fn whole<T: JsonSchema>(kind: Kind, version: u32) -> Schema {
    let schema = schemars::schema_for!(T).to_value();
    Schema { kind, type_: String::new(), version, schema: schema.to_string() }
}

/// The variants of an enum with serde's default tagging, in the order of their names, each with the schema of its content.
fn variants<T: JsonSchema>() -> Vec<(String, Value)> {
    let Value::Object(root) = schemars::schema_for!(T).to_value() else { return Vec::new() };
    let mut found = Vec::new();
    collect(&root, &mut found);
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let shared = root.get("$defs");
    for (_, schema) in &mut found {
        if let (Value::Object(schema), Some(shared)) = (schema, shared) {
            schema.insert("$defs".to_owned(), shared.clone());
        }
    }
    found
}

fn collect(schema: &Map<String, Value>, found: &mut Vec<(String, Value)>) {
    for of in ["oneOf", "anyOf"] {
        let alternatives = schema.get(of).and_then(Value::as_array).into_iter().flatten();
        alternatives.filter_map(Value::as_object).for_each(|alternative| collect(alternative, found));
    }
    // A variant without content is written as its name, and travels as an object or null.
    let names = schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
    for name in names.filter_map(Value::as_str) {
        found.push((name.to_owned(), json!({ "type": ["object", "null"] })));
    }
    for (name, content) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut content = content.clone();
        if let (Value::Object(content), Some(text)) = (&mut content, schema.get("description")) {
            content.entry("description").or_insert_with(|| text.clone());
        }
        found.push((name.clone(), content));
    }
}

/// Exports the schemas of a plugin's data, which `schemars` makes from its types: in a crate that exports the roles, one
/// line for all of them. Needs the feature `schemas`, and `JsonSchema` for the types.
///
/// ```ignore
/// pelton_plugin::export_schemas!(command_handler: Book);
/// pelton_plugin::export_schemas!(command_handler: Notices, snapshots: Notices);
/// pelton_plugin::export_schemas!(projection: Readers, saga: Waiting);
/// ```
#[macro_export]
macro_rules! export_schemas {
    ($($role:ident: $type:ty),+ $(,)?) => {
        const _: () = {
            struct Exported;

            impl $crate::bindings::schemas::exports::pelton::plugin::schemas::Guest for Exported {
                fn schemas() -> ::std::vec::Vec<$crate::bindings::schemas::exports::pelton::plugin::schemas::Schema> {
                    let mut all = ::std::vec::Vec::new();
                    $(all.extend($crate::schemas_of!($role: $type));)+
                    all
                }
            }

            const _: fn() -> ::std::vec::Vec<$crate::bindings::schemas::exports::pelton::plugin::schemas::Schema> =
                <Exported as $crate::bindings::schemas::exports::pelton::plugin::schemas::Guest>::schemas;

            #[cfg(target_family = "wasm")]
            $crate::bindings::schemas::export_bindings!(Exported with_types_in $crate::bindings::schemas);
        };
    };
}

/// For `export_schemas!`.
#[doc(hidden)]
#[macro_export]
macro_rules! schemas_of {
    (command_handler: $type:ty) => {
        $crate::export::schemas::of_command_handler::<$type>()
    };
    (snapshots: $type:ty) => {
        $crate::export::schemas::of_snapshots::<$type>()
    };
    (projection: $type:ty) => {
        $crate::export::schemas::of_projection::<$type>()
    };
    (saga: $type:ty) => {
        $crate::export::schemas::of_saga::<$type>()
    };
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Room {
        id: u32,
    }

    /// What happened.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Event {
        /// A room is booked.
        RoomBooked {
            room: Room,
        },
        #[serde(rename = "room-booked.v2")]
        RoomBookedAgain(Room),
        Closed,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Bare {
        One,
        Two,
    }

    #[test]
    fn every_variant_has_a_schema_of_its_content() {
        let events: Vec<_> = events::<Event>().collect();
        let named: Vec<_> = events.iter().map(|e| (e.type_.as_str(), e.version)).collect();
        assert_eq!(named, [("closed", 1), ("room-booked", 1), ("room-booked", 2)]);
        let of = |n: usize| serde_json::from_str::<Value>(&events[n].schema).expect("JSON");
        assert_eq!(of(0)["type"], json!(["object", "null"]));
        assert_eq!(of(1)["properties"]["room"]["$ref"], "#/$defs/Room");
        assert_eq!(of(1)["required"], json!(["room"]));
        assert_eq!(of(1)["description"], "A room is booked.");
        assert_eq!(of(1)["$defs"]["Room"]["properties"]["id"]["type"], "integer");
        assert_eq!(of(2)["$ref"], "#/$defs/Room");
        let bare: Vec<_> = variants::<Bare>().into_iter().map(|(name, _)| name).collect();
        assert_eq!(bare, ["one", "two"]);
        assert_eq!(variants::<crate::NoTimers>(), []);
    }
}
