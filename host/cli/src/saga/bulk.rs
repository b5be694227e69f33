//! `pelton saga resume`, `skip`, `cancel` and `retell` for all instances that a filter shows.
//!
//! The instances are selected before the first is changed, and each is changed as it is when its turn comes. Of those that
//! wait for their turn only the ids are held.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;
use pelton_core::id::{InstanceId, Name};
use pelton_core::saga::instance::Instance;
use pelton_core::store::Unavailable;
use pelton_nats::sagas::{Changed, SagaView, StoredInstance};
use pelton_nats::{Commands, Nats};

use super::output::Output;
use super::{cancelling, retold, select, status};
use crate::args::saga::{FilterArgs, InstanceStatus, SelectionArgs};
use crate::config::{Config, SagaConfig};
use crate::dlq::{Queues, Resolved};
use crate::exit::Failure;
use crate::{operator, run, server};

/// The statuses of instances that can be resumed, and that can skip an input.
pub(super) const RESUMED: [InstanceStatus; 1] = [InstanceStatus::Quarantined];
/// The statuses of instances that can be cancelled, and that wait for outcomes.
pub(super) const NOT_ENDED: [InstanceStatus; 2] = [InstanceStatus::Waiting, InstanceStatus::Quarantined];
/// To cancel an instance, nobody waits for a host.
pub(super) const NO_WAIT: Duration = Duration::ZERO;

/// The most instances that one run changes. Their ids have at most 255 bytes each.
const MAX_SELECTED: usize = 100_000;
/// The most tries to end one instance, each after it has gone on meanwhile and is still one of those that the filter shows.
const MAX_TRIES: usize = 5;
/// After this many instances in a row for which the server did not answer, the others are not tried.
const MAX_UNANSWERED: usize = 3;

/// What is done to each instance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act<'a> {
    Resume,
    /// With the reason.
    Skip(&'a str),
    Cancel,
    Retell,
}

impl Act<'_> {
    fn done(self) -> &'static str {
        match self {
            Self::Resume => "resumed",
            Self::Skip(_) => "skipped",
            Self::Cancel => "cancelled",
            Self::Retell => "told",
        }
    }

    fn would_be(self) -> &'static str {
        match self {
            Self::Resume => "would-be-resumed",
            Self::Skip(_) => "would-be-skipped",
            Self::Cancel => "would-be-cancelled",
            Self::Retell => "would-be-told",
        }
    }

    /// Whether it can be done to an instance.
    fn takes(self, instance: &Instance) -> bool {
        match self {
            Self::Resume | Self::Skip(_) => RESUMED.contains(&status(instance)),
            Self::Cancel | Self::Retell => NOT_ENDED.contains(&status(instance)),
        }
    }
}

/// What became of one instance, with details for people.
enum Outcome {
    Done(String),
    /// Somebody or something else came first, so that the filter shows it no more.
    Changed(String),
    Failed(String),
}

/// The numbers of instances by what became of them.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) done: usize,
    pub(super) changed: usize,
    pub(super) failed: usize,
    pub(super) not_tried: usize,
}

/// Does it to all selected instances, one after the other.
pub(super) async fn run(act: Act<'_>, arguments: &SelectionArgs, wait: Duration) -> Result<(), Failure> {
    let (config, nats) = server::connect(&arguments.server).await?;
    let (mut selected, mut more): (Vec<(Name, InstanceId)>, bool) = (Vec::new(), false);
    select::each(&config, &nats, &arguments.filter, |name, _, StoredInstance { id, instance, .. }| {
        if !act.takes(&instance) {
            return ControlFlow::Continue(());
        }
        if selected.len() == MAX_SELECTED {
            more = true;
            return ControlFlow::Break(());
        }
        selected.push((name.clone(), id));
        ControlFlow::Continue(())
    })
    .await?;
    if selected.is_empty() {
        tracing::warn!("no instance matches");
    }
    let by = operator::name(arguments.operator.by.as_deref());
    let queues = Queues::new(config.clone(), nats.clone(), &by, wait);
    let commands = run::commands(&config, &nats, &run::intake(&config));
    let bulk = Bulk {
        act,
        config,
        nats,
        commands,
        queues,
        by,
        filter: &arguments.filter,
        dry_run: arguments.dry_run,
    };
    let output = Output { json: arguments.server.json };
    let (mut summary, mut unanswered) = (Summary::default(), 0);
    for (name, id) in selected {
        if unanswered == MAX_UNANSWERED {
            summary.not_tried += 1;
            continue;
        }
        let (outcome, answered) = match bulk.change(&name, &id).await {
            Ok(outcome) => (outcome, true),
            Err(away) => (Outcome::Failed(away.to_string()), false),
        };
        unanswered = if answered { 0 } else { unanswered + 1 };
        let (count, result, detail) = match outcome {
            Outcome::Done(detail) if arguments.dry_run => (&mut summary.done, act.would_be(), detail),
            Outcome::Done(detail) => (&mut summary.done, act.done(), detail),
            Outcome::Changed(detail) => (&mut summary.changed, "changed-meanwhile", detail),
            Outcome::Failed(detail) => (&mut summary.failed, "failed", detail),
        };
        *count += 1;
        output.changed(&name, &id, result, &detail);
    }
    output.summary(if arguments.dry_run { act.would_be() } else { act.done() }, &summary);
    verdict(&summary, more)
}

fn verdict(Summary { done, changed, failed, not_tried }: &Summary, more: bool) -> Result<(), Failure> {
    let (left, all) = (failed + not_tried, done + changed + failed + not_tried);
    match (left, more) {
        (0, false) => Ok(()),
        (0, true) => Err(Failure::Run(anyhow!("there are more than {MAX_SELECTED} instances; run it again"))),
        (left, _) => Err(Failure::Run(anyhow!("{left} of {all} instances are left as they were"))),
    }
}

struct Bulk<'a> {
    act: Act<'a>,
    config: Config,
    nats: Nats,
    commands: Commands,
    queues: Queues,
    by: String,
    filter: &'a FilterArgs,
    dry_run: bool,
}

impl Bulk<'_> {
    /// Changes one instance, as it is now.
    async fn change(&self, name: &Name, id: &InstanceId) -> Result<Outcome, Unavailable> {
        let Some(saga) = self.config.sagas.get(name) else {
            return Ok(Outcome::Failed("the configuration has no such saga".to_owned()));
        };
        let view = SagaView::new(&self.nats, &saga.id);
        for _ in 0..MAX_TRIES {
            let stored = match view.instance(id).await? {
                Some(stored) if self.shows(&stored.instance) => stored,
                Some(stored) => {
                    return Ok(Outcome::Changed(format!("it is {}", status(&stored.instance).as_str())));
                }
                None => return Ok(Outcome::Changed("it is forgotten".to_owned())),
            };
            match self.act {
                Act::Resume => return self.resume(saga, id).await,
                Act::Skip(reason) => return self.skip(saga, id, reason).await,
                Act::Retell => {
                    let told = retold(&view, &self.commands, &stored, self.dry_run).await?;
                    return Ok(Outcome::Done(told));
                }
                Act::Cancel if self.dry_run => return Ok(Outcome::Done(cancelling(&stored.instance))),
                Act::Cancel => match view.cancel(&stored, saga.keep, &self.by).await? {
                    Changed::Done => return Ok(Outcome::Done(String::new())),
                    Changed::Overtaken => {}
                },
            }
        }
        Ok(Outcome::Changed("it goes on all the time".to_owned()))
    }

    fn shows(&self, instance: &Instance) -> bool {
        self.act.takes(instance) && select::takes(self.filter, instance)
    }

    /// Has its dead letters tried again, in order.
    async fn resume(&self, saga: &SagaConfig, id: &InstanceId) -> Result<Outcome, Unavailable> {
        if self.dry_run {
            let count = self.queues.count(&saga.id, id.as_str(), false).await?;
            return Ok(some(count, format!("{count} dead letters")));
        }
        let Resolved { dead_letters, left } = self.queues.retry(&saga.id, id.as_str()).await?;
        Ok(left.map_or_else(|| some(dead_letters, format!("{dead_letters} dead letters")), Outcome::Failed))
    }

    /// Drops what it failed on, and has the others tried again.
    async fn skip(&self, saga: &SagaConfig, id: &InstanceId, reason: &str) -> Result<Outcome, Unavailable> {
        let waiting = self.queues.count(&saga.id, id.as_str(), false).await?;
        if self.dry_run || waiting == 0 {
            let failed = self.queues.count(&saga.id, id.as_str(), true).await?;
            return Ok(some(waiting, format!("{failed} of {waiting} dead letters")));
        }
        let dropped = self.queues.drop_failed(&saga.id, id.as_str(), reason).await?;
        let retried = self.queues.retry(&saga.id, id.as_str()).await?;
        Ok(match dropped.left.or(retried.left) {
            Some(why) => Outcome::Failed(why),
            None => {
                let all = dropped.dead_letters + retried.dead_letters;
                some(all, format!("{} of {all} dead letters", dropped.dead_letters))
            }
        })
    }
}

/// Something was done, if there was something to do.
fn some(dead_letters: usize, detail: String) -> Outcome {
    match dead_letters {
        0 => Outcome::Changed("it has no dead letters any more".to_owned()),
        _ => Outcome::Done(detail),
    }
}
