//! Reads every object, creates it if it is missing, and lists the differences.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use pelton_core::store::Unavailable;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Missing;
use super::objects::{Kind, Object};
use crate::connection::Nats;
use crate::subjects::COMMANDS;
use crate::wire::{self, ApiError};

/// The number of times that an object is read again after another host created it first.
const RACES: usize = 5;
/// The wait before that, in which a cluster completes the other host's request.
const RACE_PAUSE: Duration = Duration::from_millis(200);

/// An object that differs from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    object: String,
    what: String,
    remedy: String,
}

impl Problem {
    /// A command of the `nats` tool that begins to solve it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

pub(super) async fn all(
    nats: &Nats,
    objects: &[Object],
    missing: Missing,
) -> Result<Vec<Problem>, Unavailable> {
    // Existing objects come first: a start that is refused must leave the server as it was.
    let mut problems = Vec::new();
    let mut not_there = Vec::new();
    for object in objects {
        match existing(nats, object).await? {
            Some(existing) => problems.extend(differences(object, &existing)),
            None => not_there.push(object),
        }
    }
    problems.extend(rivals(nats, objects).await?);
    if missing == Missing::Create && !problems.is_empty() {
        return Ok(problems);
    }
    let mut absent = BTreeSet::new();
    for object in not_there {
        if let Kind::Consumer { stream, .. } = &object.kind
            && absent.contains(stream)
        {
            continue;
        }
        match one(nats, object, missing).await? {
            Found::Alike => {}
            Found::Different(found) => problems.extend(found),
            Found::Absent(problem) => {
                if let Kind::Stream { name } = &object.kind {
                    absent.insert(name.clone());
                }
                problems.push(problem);
            }
        }
    }
    Ok(problems)
}

/// Consumers of the log of commands that take what a handler's takes. The server allows it, and would have every command
/// handled twice: perhaps the handler was renamed.
async fn rivals(nats: &Nats, objects: &[Object]) -> Result<Vec<Problem>, Unavailable> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        consumers: Option<Vec<Info>>,
    }
    #[derive(Deserialize)]
    struct Info {
        name: String,
        config: Map<String, Value>,
    }
    let ours: Vec<(&str, BTreeSet<String>)> = objects
        .iter()
        .filter_map(|object| match &object.kind {
            Kind::Consumer { stream, name } if stream == COMMANDS => {
                Some((name.as_str(), filters(&object.settings)))
            }
            _ => None,
        })
        .collect();
    let doing = format!("listing the consumers of {COMMANDS}");
    let list =
        wire::api::<List>(nats, &format!("$JS.API.CONSUMER.LIST.{COMMANDS}"), "{}".into(), &doing).await?;
    let Ok(List { consumers }) = list else { return Ok(Vec::new()) };
    let others = consumers
        .unwrap_or_default()
        .into_iter()
        .filter(|info| ours.iter().all(|(name, _)| *name != info.name));
    let problems = others.flat_map(|other| {
        let taken = filters(&other.config);
        let rival = |(name, filters): &(&str, BTreeSet<String>)| {
            let both = filters.intersection(&taken).next()?;
            Some(Problem {
                object: format!("consumer {} of stream {COMMANDS}", other.name),
                what: format!(
                    "takes {both}, as the consumer {name} does: perhaps it is of a handler that was renamed. Remove it \
                     when no host of the old name runs any more"
                ),
                remedy: format!("nats consumer rm {COMMANDS} {}", other.name),
            })
        };
        ours.iter().filter_map(rival).collect::<Vec<_>>()
    });
    Ok(problems.collect())
}

fn filters(config: &Map<String, Value>) -> BTreeSet<String> {
    let one = config.get("filter_subject").into_iter();
    let several = config.get("filter_subjects").and_then(Value::as_array).into_iter().flatten();
    one.chain(several)
        .filter_map(Value::as_str)
        .filter(|filter| !filter.is_empty())
        .map(str::to_owned)
        .collect()
}

enum Found {
    Alike,
    Different(Vec<Problem>),
    Absent(Problem),
}

async fn one(nats: &Nats, object: &Object, missing: Missing) -> Result<Found, Unavailable> {
    let mut refusal = None;
    for _ in 0..RACES {
        if let Some(existing) = existing(nats, object).await? {
            let differences = differences(object, &existing);
            return Ok(if differences.is_empty() { Found::Alike } else { Found::Different(differences) });
        }
        if missing == Missing::Report {
            return Ok(Found::Absent(object.problem("is missing; `pelton run` creates it".to_owned())));
        }
        match create(nats, object).await? {
            Ok(created) => {
                tracing::info!("created {object}");
                // A server that does not know a setting omits it and creates the object all the same.
                let differences = differences(object, &created);
                return Ok(if differences.is_empty() { Found::Alike } else { Found::Different(differences) });
            }
            Err(error) if is_temporary(&error) => {
                return Err(Unavailable { doing: format!("creating {object}"), cause: error.to_string() });
            }
            Err(error) => refusal = Some(error),
        }
        tokio::time::sleep(RACE_PAUSE).await;
    }
    let why = refusal.map_or_else(|| "another host keeps deleting it".to_owned(), |error| error.to_string());
    Ok(Found::Absent(object.problem(format!("cannot be created: {why}{}", object.hint(&why)))))
}

/// 10008: JetStream is not ready; 10005 and 10074 (no suitable peers) also while a cluster is still coming up.
fn is_temporary(error: &ApiError) -> bool {
    error.err_code == 10008 || error.code == 503
}

/// The server's answer to a request for an object, and to its creation.
#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

async fn existing(nats: &Nats, object: &Object) -> Result<Option<Map<String, Value>>, Unavailable> {
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

/// The settings that the server gave the object.
async fn create(nats: &Nats, object: &Object) -> Result<Result<Map<String, Value>, ApiError>, Unavailable> {
    let config: Map<String, Value> =
        object.settings.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let (subject, request) = match &object.kind {
        Kind::Stream { name } => (format!("$JS.API.STREAM.CREATE.{name}"), Value::Object(config)),
        Kind::Consumer { stream, name } => (
            format!("$JS.API.CONSUMER.CREATE.{stream}.{name}"),
            json!({ "stream_name": stream, "config": config, "action": "create" }),
        ),
    };
    let answer =
        wire::api::<Info>(nats, &subject, request.to_string().into(), &format!("creating {object}")).await?;
    Ok(answer.map(|info| info.config))
}

fn differences(object: &Object, existing: &Map<String, Value>) -> Vec<Problem> {
    let differ = object.settings.iter().filter_map(|(field, configured)| {
        let exists = existing.get(field).unwrap_or(&Value::Null);
        let what = || {
            format!("field {field}: configured {}, exists {}", shown(field, configured), shown(field, exists))
        };
        (!alike(configured, exists)).then(|| object.problem(what()))
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

impl Object {
    fn problem(&self, what: String) -> Problem {
        let remedy = match &self.kind {
            Kind::Stream { name } => format!("nats stream edit {name}"),
            Kind::Consumer { stream, name } => format!("nats consumer edit {stream} {name}"),
        };
        Problem { object: self.to_string(), what, remedy }
    }

    /// The meaning of the server's refusals here.
    fn hint(&self, why: &str) -> String {
        if why.contains("error code 10065") {
            return "; another stream on this server takes in some of its subjects: `nats stream ls`"
                .to_owned();
        }
        match &self.kind {
            Kind::Consumer { stream, .. } if why.contains("error code 10100") => format!(
                "; another consumer of {stream} takes some of its command types, perhaps of a handler that was renamed: \
                 `nats consumer ls {stream}`, then `nats consumer rm`"
            ),
            Kind::Consumer { .. } | Kind::Stream { .. } => String::new(),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Stream { name } => write!(f, "stream {name}"),
            Kind::Consumer { stream, name } => write!(f, "consumer {name} of stream {stream}"),
        }
    }
}

#[cfg(test)]
mod tests {
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
