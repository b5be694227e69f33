//! `pelton saga`: the instances of sagas, listed, shown, and changed.
//!
//! A quarantine is a queue of dead letters: to resume is to retry them, to skip is to drop the first and retry the others.

mod bulk;
mod output;
mod select;

use std::ops::ControlFlow;

use anyhow::{Context, anyhow};
use pelton_core::id::{InstanceId, Name};
use pelton_core::saga::instance::Instance;
use pelton_core::store::Unavailable;
use pelton_nats::Commands;
use pelton_nats::sagas::{Changed, SagaView, StoredInstance};

use crate::args::common::{OperatorArgs, ServerArgs};
use crate::args::dlq::{self as dlq_args, DropArgs, Kind, RetryArgs};
use crate::args::saga::{
    FireArgs, InstanceArgs, InstanceStatus, ListArgs, ResumeArgs, SagaCommand, Selection, SelectionArgs,
    SkipArgs,
};
use crate::config::{Config, SagaConfig};
use crate::exit::Failure;
use crate::{dlq, operator, run, server};
use output::Output;

/// Runs the subcommand.
pub(crate) async fn run(command: &SagaCommand) -> Result<(), Failure> {
    match command {
        SagaCommand::List(arguments) => list(arguments).await,
        SagaCommand::Show(arguments) => show(arguments).await,
        SagaCommand::Resume(arguments) => resume(arguments).await,
        SagaCommand::Skip(arguments) => skip(arguments).await,
        SagaCommand::Cancel(arguments) => cancel(arguments).await,
        SagaCommand::Retell(arguments) => retell(arguments).await,
        SagaCommand::Fire(arguments) => fire(arguments).await,
    }
}

/// The status of an instance.
fn status(instance: &Instance) -> InstanceStatus {
    match instance {
        Instance { quarantined_by: Some(_), .. } => InstanceStatus::Quarantined,
        Instance { state: Some(_), .. } => InstanceStatus::Waiting,
        Instance { state: None, .. } => InstanceStatus::Ended,
    }
}

async fn list(arguments: &ListArgs) -> Result<(), Failure> {
    let (config, nats) = server::connect(&arguments.server).await?;
    let (mut listed, mut more) = (Vec::new(), false);
    select::each(&config, &nats, &arguments.filter, |name, saga, stored| {
        if listed.len() == arguments.limit {
            more = true;
            return ControlFlow::Break(());
        }
        listed.push((name.clone(), saga.id.clone(), stored));
        ControlFlow::Continue(())
    })
    .await?;
    Output { json: arguments.server.json }.list(&listed);
    if more {
        eprintln!("there are more; --limit {} shows more", arguments.limit * 10);
    }
    Ok(())
}

async fn show(InstanceArgs { server, saga, instance }: &InstanceArgs) -> Result<(), Failure> {
    let (opened, stored) = Opened::of(server, saga, instance).await?;
    Output { json: server.json }.show(&opened.name, &opened.saga.id, &stored);
    Ok(())
}

/// An instance that can be resumed, as it is.
async fn quarantined(
    server: &ServerArgs,
    saga: &str,
    instance: &InstanceId,
) -> Result<(Opened, StoredInstance), Failure> {
    let (opened, stored) = Opened::of(server, saga, instance).await?;
    if status(&stored.instance) != InstanceStatus::Quarantined {
        return Err(Failure::Run(anyhow!("the instance {} is not quarantined: nothing waits", stored.id)));
    }
    Ok((opened, stored))
}

async fn resume(arguments: &ResumeArgs) -> Result<(), Failure> {
    let ResumeArgs { selection, wait } = arguments;
    match selection.selection(&bulk::RESUMED).map_err(Failure::Usage)? {
        Selection::Filtered => bulk::run(bulk::Act::Resume, selection, *wait).await,
        Selection::One(saga, instance) => {
            let (opened, stored) = quarantined(&selection.server, saga, instance).await?;
            dlq::retry(&opened.retry(arguments, &stored)).await
        }
    }
}

async fn skip(SkipArgs { resume, reason }: &SkipArgs) -> Result<(), Failure> {
    let ResumeArgs { selection: selected, wait } = resume;
    let (opened, stored) = match selected.selection(&bulk::RESUMED).map_err(Failure::Usage)? {
        Selection::Filtered => return bulk::run(bulk::Act::Skip(reason), selected, *wait).await,
        Selection::One(saga, instance) => quarantined(&selected.server, saga, instance).await?,
    };
    let RetryArgs { server, mut selection, .. } = opened.retry(resume, &stored);
    selection.filter.kind = Some(Kind::Failed);
    dlq::drop(&DropArgs { server, selection, reason: reason.clone() }).await?;
    if selected.dry_run {
        return Ok(());
    }
    dlq::retry(&opened.retry(resume, &stored)).await
}

async fn cancel(arguments: &SelectionArgs) -> Result<(), Failure> {
    let (saga, instance) = match arguments.selection(&bulk::NOT_ENDED).map_err(Failure::Usage)? {
        Selection::Filtered => return bulk::run(bulk::Act::Cancel, arguments, bulk::NO_WAIT).await,
        Selection::One(saga, instance) => (saga, instance),
    };
    let (opened, stored) = Opened::of(&arguments.server, saga, instance).await?;
    if status(&stored.instance) == InstanceStatus::Ended {
        return Err(Failure::Run(anyhow!("the instance {} has ended already", stored.id)));
    }
    let output = Output { json: arguments.server.json };
    if arguments.dry_run {
        output.did(&opened.name, &stored.id, &format!("would {}", cancelling(&stored.instance)));
        return Ok(());
    }
    let by = operator::name(arguments.operator.by.as_deref());
    match opened.view.cancel(&stored, opened.saga.keep, &by).await.map_err(failed)? {
        Changed::Done => {
            output.did(&opened.name, &stored.id, "cancelled");
            Ok(())
        }
        Changed::Overtaken => Err(overtaken(&stored)),
    }
}

async fn retell(arguments: &SelectionArgs) -> Result<(), Failure> {
    let (saga, instance) = match arguments.selection(&bulk::NOT_ENDED).map_err(Failure::Usage)? {
        Selection::Filtered => return bulk::run(bulk::Act::Retell, arguments, bulk::NO_WAIT).await,
        Selection::One(saga, instance) => (saga, instance),
    };
    let (opened, stored) = Opened::of(&arguments.server, saga, instance).await?;
    let told = retold(&opened.view, &opened.commands, &stored, arguments.dry_run).await.map_err(failed)?;
    let result = if arguments.dry_run { "would be told" } else { "told" };
    Output { json: arguments.server.json }.did(&opened.name, &stored.id, &format!("{result}: {told}"));
    Ok(())
}

/// Tells an instance how its open commands ended, unless it is a dry run, and says how many have ended.
async fn retold(
    view: &SagaView,
    commands: &Commands,
    stored: &StoredInstance,
    dry_run: bool,
) -> Result<String, Unavailable> {
    let outcomes = view.outcomes(stored, commands).await?;
    if !dry_run {
        for outcome in &outcomes {
            view.tell(outcome).await?;
        }
    }
    Ok(format!("{} of {} open commands have an outcome", outcomes.len(), stored.instance.open.len()))
}

/// What it is to cancel an instance.
fn cancelling(instance: &Instance) -> String {
    match instance.timers.len() {
        0 => "end it".to_owned(),
        timers => format!("end it and cancel {timers} of its timers"),
    }
}

async fn fire(
    FireArgs { of, dry_run, operator: OperatorArgs { by }, timer }: &FireArgs,
) -> Result<(), Failure> {
    let (opened, stored) = Opened::of(&of.server, &of.saga, &of.instance).await?;
    let Some(armed) = stored.instance.timers.get(timer) else {
        let set: Vec<_> = stored.instance.timers.keys().map(String::as_str).collect();
        let set = if set.is_empty() { "none".to_owned() } else { set.join(", ") };
        return Err(Failure::Run(anyhow!(
            "the instance {} has no timer {timer} set; it has {set}",
            stored.id
        )));
    };
    let output = Output { json: of.server.json };
    if *dry_run {
        let what = format!("would let {timer} go off, which is due at {}", armed.due);
        output.did(&opened.name, &stored.id, &what);
        return Ok(());
    }
    match opened.view.fire(&stored, timer, &operator::name(by.as_deref())).await.map_err(failed)? {
        Changed::Done => {
            output.did(&opened.name, &stored.id, &format!("{timer} goes off"));
            Ok(())
        }
        Changed::Overtaken => Err(overtaken(&stored)),
    }
}

/// An instance's saga on its server.
struct Opened {
    name: Name,
    saga: SagaConfig,
    view: SagaView,
    commands: Commands,
}

impl Opened {
    async fn of(
        server: &ServerArgs,
        saga: &str,
        instance: &InstanceId,
    ) -> Result<(Self, StoredInstance), Failure> {
        let (config, nats) = server::connect(server).await?;
        let (name, saga) = find(&config, saga)?;
        let view = SagaView::new(&nats, &saga.id);
        let commands = run::commands(&config, &nats, &run::intake(&config));
        let stored = view.instance(instance).await.map_err(failed)?;
        let stored = stored
            .with_context(|| format!("the saga {name} has no instance {instance}, or has forgotten it"))
            .map_err(Failure::Run)?;
        Ok((Self { name: name.clone(), saga: saga.clone(), view, commands }, stored))
    }

    /// The arguments of `pelton dlq retry` for the instance's dead letters.
    fn retry(&self, ResumeArgs { selection, wait }: &ResumeArgs, stored: &StoredInstance) -> RetryArgs {
        let filter = dlq_args::FilterArgs {
            consumer: Some(self.saga.id.to_string()),
            key: Some(stored.id.to_string()),
            kind: None,
            stream: None,
            command: None,
            since: None,
            until: None,
        };
        let SelectionArgs { server, dry_run, operator, .. } = selection;
        let (dry_run, operator) = (*dry_run, operator.clone());
        let selection =
            dlq_args::SelectionArgs { dead_letters: Vec::new(), filter, all: false, dry_run, operator };
        RetryArgs { server: server.clone(), selection, wait: *wait }
    }
}

fn find<'a>(config: &'a Config, saga: &str) -> Result<(&'a Name, &'a SagaConfig), Failure> {
    let is_meant = |(name, of): &(&Name, &SagaConfig)| name.as_str() == saga || of.id.as_str() == saga;
    config
        .sagas
        .iter()
        .find(is_meant)
        .with_context(|| format!("the configuration has no saga {saga}"))
        .map_err(Failure::Run)
}

fn overtaken(stored: &StoredInstance) -> Failure {
    Failure::Run(anyhow!("the instance {} has gone on meanwhile; look at it again", stored.id))
}

fn failed(away: Unavailable) -> Failure {
    Failure::Run(away.into())
}
