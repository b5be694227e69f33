//! Consumers of the log of commands that stand in the way: those of a handler that was renamed, or removed.

use std::collections::BTreeSet;

use pelton_core::store::Unavailable;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::objects::{Kind, Object, filters};
use super::plan::{Action, Change, Effect, Step};
use crate::connection::Nats;
use crate::subjects::{self, COMMANDS};
use crate::wire;

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

/// The steps that delete them. Consumers of other programs, with filters of another form, are left alone.
///
/// The server allows two consumers with one filter, and would have every command handled twice. A consumer that no
/// handler reads keeps the log from letting go of old commands.
pub(super) async fn find(nats: &Nats, objects: &[Object]) -> Result<Vec<Step>, Unavailable> {
    let ours: Vec<(&str, BTreeSet<String>)> = objects
        .iter()
        .filter_map(|object| match &object.kind {
            Kind::Consumer { stream, name } if stream == COMMANDS => {
                Some((name.as_str(), filters(&object.settings)))
            }
            _ => None,
        })
        .collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let doing = format!("listing the consumers of {COMMANDS}");
    let list =
        wire::api::<List>(nats, &format!("$JS.API.CONSUMER.LIST.{COMMANDS}"), "{}".into(), &doing).await?;
    let Ok(List { consumers }) = list else { return Ok(Vec::new()) };
    let others = consumers
        .unwrap_or_default()
        .into_iter()
        .filter(|info| ours.iter().all(|(name, _)| *name != info.name));
    Ok(others.filter_map(|other| step(&ours, other)).collect())
}

fn step(ours: &[(&str, BTreeSet<String>)], Info { name, config }: Info) -> Option<Step> {
    let taken = filters(&config);
    let rival = ours.iter().find_map(|(rival, filters)| Some((rival, filters.intersection(&taken).next()?)));
    let (what, meaning) = match rival {
        Some((rival, both)) => (
            format!(
                "takes {both}, as the consumer {rival} does: perhaps it is of a handler that was renamed"
            ),
            format!(
                "it is deleted, and {rival} goes through the whole log once, which ends no command twice; stop the \
                 hosts of the old name first"
            ),
        ),
        None if !taken.is_empty() && taken.iter().all(|filter| subjects::is_commands_of_type(filter)) => (
            format!(
                "takes {}, which no handler of the configuration does: perhaps its handler was removed",
                taken.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
            ),
            "it is deleted once its commands are decided; while it is there, the log keeps every command"
                .to_owned(),
        ),
        None => return None,
    };
    let object = Object { kind: Kind::Consumer { stream: COMMANDS.to_owned(), name }, settings: config };
    let change = Change { object: object.to_string(), what, effect: Effect::Other, meaning };
    // Commands that a rival has not decided go to the consumer that replaces it.
    Some(Step { object, action: Action::Delete { drain: rival.is_none() }, changes: vec![change] })
}
