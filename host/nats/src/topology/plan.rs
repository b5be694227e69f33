//! What makes the server match the configuration: steps, what each means, and how they are carried out.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use pelton_core::id::Sequence;
use pelton_core::store::Unavailable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::compare::{self, Info, existing};
use super::objects::{Kind, Object, filters, set_filters};
use super::{Differences, TopologyError};
use crate::connection::Nats;
use crate::subjects::COMMANDS;
use crate::wire::{self, ApiError};

/// The number of times that an object is read again after another host created it first.
const RACES: usize = 5;
/// The wait before that, in which a cluster completes the other host's request.
const RACE_PAUSE: Duration = Duration::from_millis(200);
/// The time that a handler has to decide the commands that it is not given any more.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It adds, and nothing that is stored or runs loses by it.
    Additive,
    /// Somebody has to decide whether it is wanted.
    Other,
    /// The server does not make it.
    Impossible,
}

/// A difference between the configuration and the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The stream or consumer.
    pub object: String,
    /// The difference.
    pub what: String,
    /// What kind of change it is.
    pub effect: Effect,
    /// What the change means for what is stored and for hosts that run.
    pub meaning: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// Everything to change about one object.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) object: Object,
    pub(super) action: Action,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Create,
    Update {
        existing: Map<String, Value>,
    },
    Delete {
        /// Whether its commands have to be decided first.
        drain: bool,
    },
}

/// What makes the server match the configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// Every change. What a stream that is created cannot have yet is not listed.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        let created: BTreeSet<&str> = self
            .steps
            .iter()
            .filter_map(|step| match (&step.action, &step.object.kind) {
                (Action::Create, Kind::Stream { name }) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let listed = move |step: &&Step| match (&step.action, &step.object.kind) {
            (Action::Create, Kind::Consumer { stream, .. }) => !created.contains(stream.as_str()),
            _ => true,
        };
        self.steps.iter().filter(listed).flat_map(|step| &step.changes)
    }

    /// The changes of what exists.
    pub fn differences(&self) -> impl Iterator<Item = &Change> {
        let exists = |step: &&Step| !matches!(step.action, Action::Create);
        self.steps.iter().filter(exists).flat_map(|step| &step.changes)
    }

    /// The changes that the server does not make.
    pub fn impossible(&self) -> impl Iterator<Item = &Change> {
        self.changes().filter(|change| change.effect == Effect::Impossible)
    }

    /// Makes all changes; logs each. An interrupted plan is completed by the next.
    ///
    /// A command must not be passed over, so consumers take a new type before the log does, and let go of a type only
    /// after the log has, and after they have decided those that it holds.
    ///
    /// # Errors
    ///
    /// The server does not answer, or it refuses changes; then not all have been made.
    pub async fn carry_out(&self, nats: &Nats) -> Result<(), TopologyError> {
        for (object, existing) in self.consumer_updates() {
            let mut both = existing.clone();
            set_filters(&mut both, filters(&object.settings).union(&filters(existing)).cloned());
            if filters(&both) != filters(existing) {
                let _answer = update(nats, object, both).await?;
            }
        }
        // Where no host decides them, nothing is taken away, and a host with the old configuration still starts.
        for step in &self.steps {
            step.drain(nats).await?;
        }
        let (streams, consumers): (Vec<&Step>, Vec<&Step>) =
            self.steps.iter().partition(|step| matches!(step.object.kind, Kind::Stream { .. }));
        Self::carry_out_all(&streams, nats).await?;
        Self::carry_out_all(&consumers, nats).await
    }

    /// Makes what can be made, and tells of all that was refused.
    async fn carry_out_all(steps: &[&Step], nats: &Nats) -> Result<(), TopologyError> {
        let mut refused = Vec::new();
        for step in steps {
            match step.carry_out(nats).await {
                Err(TopologyError::Differs(Differences(changes))) => refused.extend(changes),
                done => done?,
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(TopologyError::Differs(Differences(refused))) }
    }

    fn consumer_updates(&self) -> impl Iterator<Item = (&Object, &Map<String, Value>)> {
        self.steps.iter().filter_map(|step| match (&step.action, &step.object.kind) {
            (Action::Update { existing }, Kind::Consumer { .. }) => Some((&step.object, existing)),
            _ => None,
        })
    }
}

impl Step {
    /// The filters that a consumer of the log of commands loses.
    fn dropped(&self) -> Option<BTreeSet<String>> {
        let Kind::Consumer { stream, .. } = &self.object.kind else { return None };
        let dropped: BTreeSet<String> = match &self.action {
            Action::Update { existing } => {
                filters(existing).difference(&filters(&self.object.settings)).cloned().collect()
            }
            Action::Delete { drain: true } => filters(&self.object.settings),
            Action::Create | Action::Delete { drain: false } => return None,
        };
        (stream == COMMANDS && !dropped.is_empty()).then_some(dropped)
    }

    async fn drain(&self, nats: &Nats) -> Result<(), TopologyError> {
        match self.dropped() {
            Some(dropped) => drain(nats, &self.object, &dropped).await,
            None => Ok(()),
        }
    }

    async fn carry_out(&self, nats: &Nats) -> Result<(), TopologyError> {
        let object = &self.object;
        // Of what was logged meanwhile, too.
        self.drain(nats).await?;
        let took = match &self.action {
            Action::Create => create(nats, object).await?,
            Action::Delete { .. } => return delete(nats, object).await,
            Action::Update { existing } => {
                let mut config = existing.clone();
                set_filters(&mut config, filters(&object.settings));
                for (field, value) in object.settings.iter().filter(|(field, _)| !is_filter(field)) {
                    match value.is_null() {
                        true => drop(config.remove(field)),
                        false => drop(config.insert(field.clone(), value.clone())),
                    }
                }
                update(nats, object, config).await?
            }
        };
        // A server that does not know a setting omits it and answers as if all were well.
        let left = compare::differences(object, &took);
        if !left.is_empty() {
            return Err(TopologyError::Differs(Differences(left)));
        }
        if matches!(self.action, Action::Create) {
            tracing::info!("created {object}");
        } else {
            self.changes.iter().for_each(|change| tracing::info!("changed {change}; {}", change.meaning));
        }
        Ok(())
    }
}

fn is_filter(field: &str) -> bool {
    matches!(field, "filter_subject" | "filter_subjects")
}

/// The settings that the server gave the object, or another host before.
async fn create(nats: &Nats, object: &Object) -> Result<Map<String, Value>, TopologyError> {
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
async fn update(
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

async fn delete(nats: &Nats, object: &Object) -> Result<(), TopologyError> {
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
async fn drain(nats: &Nats, object: &Object, filters: &BTreeSet<String>) -> Result<(), TopologyError> {
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

fn refused(object: &Object, what: String) -> TopologyError {
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
