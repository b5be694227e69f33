//! How a handler's commands find their entity, kept as metadata of its consumers.
//!
//! A command of the log, and a retry of one, is looked for at its entity. With other pointers that would be another
//! entity, where the command has not ended: it would be decided a second time. So the pointers of a type change only while the log
//! has no command of it.

use pelton_core::intake::CommandRoute;
use pelton_core::partition::{Partition, Partitions};
use pelton_core::store::Unavailable;
use serde_json::{Map, Value};

use super::HandlerConsumer;
use super::objects::Object;
use super::plan::{Change, Effect};
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire;

/// What the keys of this metadata begin with; the command type follows.
const PREFIX: &str = "pelton.entity.";

/// For every command type, the template of its entities with the pointers to its tokens.
pub(super) fn metadata(handler: &HandlerConsumer) -> Value {
    let entry = |(r#type, route): (&_, &CommandRoute)| (format!("{PREFIX}{type}"), shown(route).into());
    Value::Object(handler.commands.iter().map(entry).collect())
}

fn shown(route: &CommandRoute) -> String {
    let tokens = route.tokens.iter().map(|(name, pointer)| format!(" {name} = {pointer}"));
    std::iter::once(route.template.to_string()).chain(tokens).collect()
}

/// The metadata that is Pelton's.
pub(super) fn of_config(config: &Map<String, Value>) -> Map<String, Value> {
    let all = config.get("metadata").and_then(Value::as_object).into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(PREFIX)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// This metadata, with that of the operator and of the server beside it.
pub(super) fn merged(existing: &Map<String, Value>, configured: &Value) -> Value {
    let others = existing.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let others = others.filter(|(key, _)| !key.starts_with(PREFIX));
    let own = configured.as_object().into_iter().flatten();
    Value::Object(others.chain(own).map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What differs in how commands find their entities, and whether that may be.
pub(super) async fn difference(
    nats: &Nats,
    object: &Object,
    existing: &Map<String, Value>,
) -> Result<Option<Change>, Unavailable> {
    let Some(configured) = object.settings.get("metadata").and_then(Value::as_object) else {
        return Ok(None);
    };
    let exists = of_config(existing);
    if exists == *configured {
        return Ok(None);
    }
    let mut change = Change {
        object: object.to_string(),
        what: "does not say how its commands find their entities".to_owned(),
        effect: Effect::Additive,
        meaning: "it is written down, so that a change of it is noticed".to_owned(),
    };
    for (key, now) in configured {
        let r#type = key.trim_start_matches(PREFIX);
        let Some(was) = exists.get(key).filter(|was| *was != now) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        change.what = format!("{type} finds its entity at {}, configured {}", text(was), text(now));
        if is_in_log(nats, r#type).await? {
            change.effect = Effect::Impossible;
            change.meaning = format!(
                "a {type} in the log, or a retry of one, would be decided again, at another entity. Give it another type, \
                 such as {type}-2, or wait until the log holds none, `[commands] keep` after the last"
            );
            break;
        }
        change.effect = Effect::Other;
        change.meaning = format!("the log has no {type}, so none can be decided twice");
    }
    Ok(Some(change))
}

async fn is_in_log(nats: &Nats, r#type: &str) -> Result<bool, Unavailable> {
    let partitions = crate::commands::log::partitions(nats, r#type).await?.unwrap_or(Partitions::ONE);
    // Those of an earlier number of partitions, too.
    let divided = partitions.all().chain([Partition::WHOLE]);
    for partition in divided {
        let filter = subjects::commands_of_type(r#type, partition);
        if wire::leader_last(nats, COMMANDS, &filter).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
