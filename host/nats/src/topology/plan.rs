//! What makes the server match the configuration: steps, what each means, and the order in which they are carried out.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::compare::{self, existing};
use super::objects::{Kind, Object, filters, set_filters};
use super::requests::{create, delete, drain, refuse, refused, skip_the_log, update};
use super::{Differences, TopologyError, entities};
use crate::connection::Nats;
use crate::subjects::{COMMANDS, type_of_commands};

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
    /// The log of commands, as it should be. `None` without a handler.
    pub(super) log: Option<Object>,
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

    /// What creates what is missing, and nothing else.
    pub(super) fn only_missing(mut self) -> Self {
        self.steps.retain(|step| matches!(step.action, Action::Create));
        self
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
    /// after they have decided what the log holds of it. Nor may two handlers get one command, so the log refuses a
    /// type while it moves from one to another.
    ///
    /// # Errors
    ///
    /// The server does not answer, or it refuses changes; then not all have been made.
    pub async fn carry_out(&self, nats: &Nats) -> Result<(), TopologyError> {
        let impossible: Vec<Change> = self.impossible().cloned().collect();
        if !impossible.is_empty() {
            return Err(TopologyError::Differs(Differences(impossible)));
        }
        let moved = self.moved();
        self.check_new_consumers(&moved)?;
        for (object, existing) in self.consumer_updates() {
            let mut grown = filters(existing);
            grown.extend(filters(&object.settings).difference(&moved).cloned());
            if grown != filters(existing) {
                let mut config = existing.clone();
                set_filters(&mut config, grown);
                update(nats, object, config).await?;
            }
        }
        // Where no host decides them, nothing is taken away, and a host with the old configuration still starts.
        for step in &self.steps {
            step.drain(nats).await?;
        }
        let (streams, consumers): (Vec<&Step>, Vec<&Step>) =
            self.steps.iter().partition(|step| matches!(step.object.kind, Kind::Stream { .. }));
        let (losing, others): (Vec<&Step>, Vec<&Step>) =
            consumers.into_iter().partition(|step| step.takes_something_away());
        let Some(log) = self.log.as_ref().filter(|_| !moved.is_empty()) else {
            carry_out_all(&streams, nats).await?;
            carry_out_all(&losing, nats).await?;
            return carry_out_all(&others, nats).await;
        };
        let streams: Vec<&Step> = streams.into_iter().filter(|step| step.object.kind != log.kind).collect();
        carry_out_all(&streams, nats).await?;
        refuse(nats, log, &moved).await?;
        carry_out_all(&losing, nats).await?;
        carry_out_all(&others, nats).await?;
        let is_new = |step: &&&Step| matches!(step.action, Action::Create);
        for step in others.iter().filter(is_new).filter(|step| step.takes_a_type_of(&moved)) {
            skip_the_log(nats, &step.object).await?;
        }
        let existing = existing(nats, log).await?.unwrap_or_default();
        let changes = compare::differences(log, &existing);
        Step { object: log.clone(), action: Action::Update { existing }, changes }.carry_out(nats).await
    }

    /// The filters that one consumer loses after it has decided their commands, while another one gets commands of their
    /// types: a handler's, or a partition's.
    fn moved(&self) -> BTreeSet<String> {
        let lost: BTreeSet<String> = self.steps.iter().filter_map(Step::dropped).flatten().collect();
        let got = self.steps.iter().flat_map(|step| match &step.action {
            Action::Create => step.filters(),
            Action::Update { existing } => step.filters().difference(&filters(existing)).cloned().collect(),
            Action::Delete { .. } => BTreeSet::new(),
        });
        let got: Vec<String> = got.collect();
        let is_got = |lost: &String| got.iter().any(|got| type_of_commands(got) == type_of_commands(lost));
        lost.into_iter().filter(is_got).collect()
    }

    /// A consumer that is new takes the whole log of a handler that was renamed, and nothing of the log of one from which
    /// a type moves: its commands have ended at other entities. So it cannot do both at once.
    fn check_new_consumers(&self, moved: &BTreeSet<String>) -> Result<(), TopologyError> {
        let renamed: BTreeSet<String> = self
            .steps
            .iter()
            .filter(|step| matches!(step.action, Action::Delete { drain: false }))
            .flat_map(Step::filters)
            .collect();
        let both = |step: &&Step| {
            let filters = step.filters();
            matches!(step.action, Action::Create)
                && step.takes_a_type_of(moved)
                && !filters.is_disjoint(&renamed)
        };
        match self.steps.iter().find(both) {
            None => Ok(()),
            Some(step) => Err(refused(
                &step.object,
                "takes the commands of a handler that was renamed, and some of another one: rename it first, apply, \
                 and move the others then"
                    .to_owned(),
            )),
        }
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

    fn filters(&self) -> BTreeSet<String> {
        filters(&self.object.settings)
    }

    fn takes_a_type_of(&self, others: &BTreeSet<String>) -> bool {
        let of_others =
            |filter: &String| others.iter().any(|other| type_of_commands(other) == type_of_commands(filter));
        self.filters().iter().any(of_others)
    }

    fn takes_something_away(&self) -> bool {
        matches!(self.action, Action::Delete { .. }) || self.dropped().is_some()
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
                    match value {
                        Value::Null => drop(config.remove(field)),
                        _ if field == "metadata" => {
                            drop(config.insert(field.clone(), entities::merged(existing, value)));
                        }
                        _ => drop(config.insert(field.clone(), value.clone())),
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

fn is_filter(field: &str) -> bool {
    matches!(field, "filter_subject" | "filter_subjects")
}
