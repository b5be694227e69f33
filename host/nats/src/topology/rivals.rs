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
    let ours: Vec<Ours<'_>> = objects
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
    let consumers = consumers.unwrap_or_default();
    let is_there = |name: &str| consumers.iter().any(|info| info.name == name);
    let (old, new): (Vec<Ours<'_>>, Vec<Ours<'_>>) = ours.into_iter().partition(|(name, _)| is_there(name));
    let is_other = |info: &&Info| old.iter().all(|(name, _)| *name != info.name);
    Ok(consumers.iter().filter(is_other).filter_map(|other| step(&old, &new, other)).collect())
}

/// A consumer of the configuration, and its filters.
type Ours<'a> = (&'a str, BTreeSet<String>);

fn step(old: &[Ours<'_>], new: &[Ours<'_>], Info { name, config }: &Info) -> Option<Step> {
    let taken = filters(config);
    let rival = |ours: &[Ours<'_>]| {
        let both = |(rival, filters): &Ours<'_>| {
            Some(((*rival).to_owned(), filters.intersection(&taken).next()?.clone()))
        };
        ours.iter().find_map(both)
    };
    let moves_to_old = rival(old);
    // A new consumer goes through the whole log; one that is there does not see what lies behind it.
    let drain = moves_to_old.is_some() || rival(new).is_none();
    let (what, meaning) = match moves_to_old.or_else(|| rival(new)) {
        Some((rival, both)) => (
            format!(
                "takes {both}, as the consumer {rival} does: perhaps it is of a handler that was renamed"
            ),
            match drain {
                true => {
                    format!("it is deleted once its commands are decided, and {rival} gets those that follow")
                }
                false => format!(
                    "it is deleted, and {rival} goes through the whole log once, which ends no command twice; stop the \
                     hosts of the old name first"
                ),
            },
        ),
        None if !taken.is_empty() && taken.iter().all(|filter| subjects::is_commands_of_type(filter)) => (
            format!(
                "takes {}, which no handler of the configuration does: perhaps its handler was removed, or has other partitions",
                taken.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
            ),
            "it is deleted once its commands are decided; while it is there, the log keeps every command"
                .to_owned(),
        ),
        None => return None,
    };
    let kind = Kind::Consumer { stream: COMMANDS.to_owned(), name: name.clone() };
    let object = Object { kind, settings: config.clone() };
    let change = Change { object: object.to_string(), what, effect: Effect::Other, meaning };
    Some(Step { object, action: Action::Delete { drain }, changes: vec![change] })
}
