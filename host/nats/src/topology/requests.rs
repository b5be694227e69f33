//! The requests that change objects on the server.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::compare::{Info, existing};
use super::objects::{Kind, Object};
use super::plan::{Change, Effect};
use super::{Differences, TopologyError};
use crate::commands::log;
use crate::connection::Nats;
use crate::subjects::COMMANDS;
use crate::wire::{self, ApiError};

/// The number of times that an object is read again after another host created it first.
const RACES: usize = 5;
/// The wait before that, in which a cluster completes the other host's request.
const RACE_PAUSE: Duration = Duration::from_millis(200);
/// The time that a handler has to decide the commands that it is not given any more.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// Makes the log refuse these commands.
pub(super) async fn refuse(
    nats: &Nats,
    log: &Object,
    filters: &BTreeSet<String>,
) -> Result<(), TopologyError> {
    let Some(mut config) = existing(nats, log).await? else { return Ok(()) };
    if let Some(Value::Array(subjects)) = config.get_mut("subjects") {
        subjects.retain(|subject| subject.as_str().is_none_or(|subject| !filters.contains(subject)));
    }
    update(nats, log, config).await?;
    Ok(())
}

/// Has a new consumer begin after the last command that is logged.
pub(super) async fn skip_the_log(nats: &Nats, object: &Object) -> Result<(), TopologyError> {
    let Kind::Consumer { stream, name } = &object.kind else { return Ok(()) };
    let doing = format!("setting {object} to the end of its stream");
    let next = log::last(nats).await?.0 + 1;
    let subject = format!("$JS.API.CONSUMER.RESET.{stream}.{name}");
    let request = json!({ "seq": next }).to_string();
    match wire::api::<serde::de::IgnoredAny>(nats, &subject, request.into(), &doing).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }.into()),
    }
}

/// The settings that the server gave the object, or another host before.
pub(super) async fn create(nats: &Nats, object: &Object) -> Result<Map<String, Value>, TopologyError> {
    let config: Map<String, Value> =
        object.settings.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let doing = format!("creating {object}");
    let mut refusal = None;
    for _ in 0..RACES {
        let (subject, request) = match &object.kind {
            Kind::Stream { name } => (format!("$JS.API.STREAM.CREATE.{name}"), Value::Object(config.clone())),
            Kind::Consumer { stream, name } => {
                (consumer_subject(stream, name), of_consumer(stream, &config, "create"))
            }
        };
        match wire::api::<Info>(nats, &subject, request.to_string().into(), &doing).await? {
            Ok(created) => return Ok(created.config),
            Err(error) if is_temporary(&error) => {
                return Err(Unavailable { doing, cause: error.to_string() }.into());
            }
            Err(error) => refusal = Some(error),
        }
        tokio::time::sleep(RACE_PAUSE).await;
        if let Some(existing) = existing(nats, object).await? {
            return Ok(existing);
        }
    }
    let why = refusal.map_or_else(|| "another host keeps deleting it".to_owned(), |error| error.to_string());
    Err(refused(object, format!("cannot be created: {why}{}", hint(&why))))
}

/// The settings that the server has given the object. They are read again, because the answer to an update of a consumer
/// that the server has recovered from its disk holds the old ones (2.15.1).
pub(super) async fn update(
    nats: &Nats,
    object: &Object,
    config: Map<String, Value>,
) -> Result<Map<String, Value>, TopologyError> {
    let doing = format!("changing {object}");
    let (subject, request) = match &object.kind {
        Kind::Stream { name } => (format!("$JS.API.STREAM.UPDATE.{name}"), Value::Object(config)),
        Kind::Consumer { stream, name } => {
            (consumer_subject(stream, name), of_consumer(stream, &config, "update"))
        }
    };
    match wire::api::<Info>(nats, &subject, request.to_string().into(), &doing).await? {
        Ok(_stale) => Ok(existing(nats, object).await?.unwrap_or_default()),
        Err(error) if is_temporary(&error) => Err(Unavailable { doing, cause: error.to_string() }.into()),
        Err(error) => {
            let why = error.to_string();
            Err(refused(object, format!("cannot be changed: {why}{}", hint(&why))))
        }
    }
}

pub(super) async fn delete(nats: &Nats, object: &Object) -> Result<(), TopologyError> {
    let doing = format!("deleting {object}");
    let subject = match &object.kind {
        Kind::Stream { name } => format!("$JS.API.STREAM.DELETE.{name}"),
        Kind::Consumer { stream, name } => format!("$JS.API.CONSUMER.DELETE.{stream}.{name}"),
    };
    match wire::api::<serde::de::IgnoredAny>(nats, &subject, Bytes::new(), &doing).await? {
        Err(error) if error.code != 404 => Err(Unavailable { doing, cause: error.to_string() }.into()),
        _ => {
            tracing::info!("deleted {object}");
            Ok(())
        }
    }
}

/// Waits until a consumer of the log has acknowledged every command of these filters that is logged now.
pub(super) async fn drain(
    nats: &Nats,
    object: &Object,
    filters: &BTreeSet<String>,
) -> Result<(), TopologyError> {
    let mut last = Sequence(0);
    for filter in filters {
        let found = wire::leader_last(nats, COMMANDS, filter).await?;
        last = last.max(found.map_or(last, |message| message.sequence));
    }
    let deadline = Instant::now() + DRAIN_PATIENCE;
    loop {
        let floor = ack_floor(nats, object).await?;
        if floor.is_none_or(|floor| floor >= last) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            return Err(refused(
                object,
                format!(
                    "has not decided all commands of {}. Nothing was taken from it yet: have a host with the old \
                     configuration decide them, then apply again",
                    filters.join(" ")
                ),
            ));
        }
        tokio::time::sleep(RACE_PAUSE).await;
    }
}

/// The sequence up to which a consumer has acknowledged its messages. `None`: all, or it does not exist.
async fn ack_floor(nats: &Nats, object: &Object) -> Result<Option<Sequence>, Unavailable> {
    #[derive(Deserialize)]
    struct Place {
        stream_seq: u64,
    }
    #[derive(Deserialize)]
    struct Progress {
        ack_floor: Place,
        num_pending: u64,
        num_ack_pending: u64,
    }
    let Kind::Consumer { stream, name } = &object.kind else { return Ok(None) };
    let doing = format!("looking at {object}");
    let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{name}");
    match wire::api::<Progress>(nats, &subject, Bytes::new(), &doing).await? {
        Ok(Progress { num_pending: 0, num_ack_pending: 0, .. }) => Ok(None),
        Ok(progress) => Ok(Some(Sequence(progress.ack_floor.stream_seq))),
        Err(error) if error.code == 404 => Ok(None),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

fn consumer_subject(stream: &str, name: &str) -> String {
    format!("$JS.API.CONSUMER.CREATE.{stream}.{name}")
}

fn of_consumer(stream: &str, config: &Map<String, Value>, action: &str) -> Value {
    json!({ "stream_name": stream, "config": config, "action": action })
}

/// 10008: JetStream is not ready; 10005 and 10074 (no suitable peers) also while a cluster is still coming up.
fn is_temporary(error: &ApiError) -> bool {
    error.err_code == 10008 || error.code == 503
}

pub(super) fn refused(object: &Object, what: String) -> TopologyError {
    let change =
        Change { object: object.to_string(), what, effect: Effect::Impossible, meaning: String::new() };
    TopologyError::Differs(Differences(vec![change]))
}

/// The meaning of the server's refusals here.
fn hint(why: &str) -> &'static str {
    match why.contains("error code 10065") {
        true => "; another stream on this server takes in some of its subjects: `nats stream ls`",
        false => "",
    }
}
