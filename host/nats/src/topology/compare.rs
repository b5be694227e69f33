//! Reads every object, and lists what has to be done to have it as it is configured.

use std::collections::BTreeSet;

use pelton_core::store::Unavailable;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::meaning::{self, Meaning};
use super::objects::{Kind, Object, filters};
use super::plan::{Action, Change, Effect, Plan, Step};
use super::{entities, rivals};
use crate::connection::Nats;
use crate::subjects::COMMANDS;
use crate::wire;

/// What makes the server match these objects.
pub(super) async fn plan(nats: &Nats, objects: &[Object]) -> Result<Plan, Unavailable> {
    let mut steps = Vec::new();
    for object in objects {
        let step = match existing(nats, object).await? {
            Some(existing) => {
                let mut changes = differences(object, &existing);
                changes.extend(entities::difference(nats, object, &existing).await?);
                if changes.is_empty() {
                    continue;
                }
                Step { object: object.clone(), action: Action::Update { existing }, changes }
            }
            None => Step { object: object.clone(), action: Action::Create, changes: vec![missing(object)] },
        };
        steps.push(step);
    }
    steps.extend(rivals::find(nats, objects).await?);
    let is_log = |object: &&Object| object.kind == Kind::Stream { name: COMMANDS.to_owned() };
    Ok(Plan { steps, log: objects.iter().find(is_log).cloned() })
}

fn missing(object: &Object) -> Change {
    Change {
        object: object.to_string(),
        what: "is missing; `pelton run` creates it".to_owned(),
        effect: Effect::Additive,
        meaning: "nothing that runs is touched".to_owned(),
    }
}

/// The server's answer to a request for an object, and to its creation or change.
#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) config: Map<String, Value>,
}

pub(super) async fn existing(
    nats: &Nats,
    object: &Object,
) -> Result<Option<Map<String, Value>>, Unavailable> {
    let (subject, doing) = match &object.kind {
        Kind::Stream { name } => (format!("$JS.API.STREAM.INFO.{name}"), format!("looking at {object}")),
        Kind::Consumer { stream, name } => {
            (format!("$JS.API.CONSUMER.INFO.{stream}.{name}"), format!("looking at {object}"))
        }
    };
    match wire::api::<Info>(nats, &subject, "{}".into(), &doing).await? {
        Ok(info) => Ok(Some(info.config)),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// The settings of an object that differ, but for metadata. A consumer's filters are one setting, which the server has two
/// fields for.
pub(super) fn differences(object: &Object, existing: &Map<String, Value>) -> Vec<Change> {
    let configured = |field: &str| match field {
        "filter_subjects" => filters(&object.settings).into_iter().collect(),
        _ => object.settings[field].clone(),
    };
    let exists = |field: &str| match field {
        "filter_subjects" => filters(existing).into_iter().collect(),
        _ => existing.get(field).cloned().unwrap_or_default(),
    };
    let fields =
        object.settings.keys().filter(|field| !matches!(field.as_str(), "filter_subject" | "metadata"));
    let differ = fields.filter_map(|field| {
        let (configured, exists) = (configured(field), exists(field));
        if alike(&configured, &exists) {
            return None;
        }
        let what = format!(
            "field {field}: configured {}, exists {}",
            shown(field, &configured),
            shown(field, &exists)
        );
        let Meaning { effect, text } = meaning::of(&object.kind, field, &exists, &configured);
        Some(Change { object: object.to_string(), what, effect, meaning: text })
    });
    differ.collect()
}

/// Whether two values are equal. The server omits settings that are off, and does not keep the order of lists.
fn alike(a: &Value, b: &Value) -> bool {
    let is_off = |v: &Value| match v {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty() || s == "default",
        Value::Array(list) => list.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    };
    let sorted = |list: &Vec<Value>| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => sorted(a) == sorted(b),
        _ => a == b || (is_off(a) && is_off(b)),
    }
}

fn shown(field: &str, value: &Value) -> String {
    let is_time = matches!(field, "max_age" | "duplicate_window" | "ack_wait" | "inactive_threshold");
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) if is_time => n.as_u64().map_or_else(|| n.to_string(), duration),
        Value::Number(n) if n.as_i64() == Some(-1) => "no limit".to_owned(),
        Value::Array(list) => {
            list.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// The duration in the largest unit that leaves no remainder.
fn duration(nanoseconds: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1, "ns"),
    ];
    if nanoseconds == 0 {
        return "0".to_owned();
    }
    let unit = UNITS.iter().find(|(size, _)| nanoseconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{nanoseconds}ns"), |(size, name)| format!("{}{name}", nanoseconds / size))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_leaves_out_is_off() {
        for (configured, exists, same) in [
            (json!(false), json!(null), true),
            (json!(0), json!(null), true),
            (json!(null), json!("default"), true),
            (json!(null), json!("async"), false),
            (json!(-1), json!(0), false),
            (json!(["a", "b"]), json!(["b", "a"]), true),
            (json!(["a"]), json!(["a", "b"]), false),
            (json!(null), json!({ "name": "x" }), false),
        ] {
            assert_eq!(alike(&configured, &exists), same, "{configured} {exists}");
        }
    }

    #[test]
    fn times_are_shown_as_people_write_them() {
        assert_eq!(duration(14 * 86_400_000_000_000), "14d");
        assert_eq!(duration(90_000_000_000), "90s");
        assert_eq!(duration(250_000_000), "250ms");
        assert_eq!(duration(0), "0");
    }
}
