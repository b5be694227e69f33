//! `pelton saga`: the instances of sagas, listed, shown, and changed.
//!
//! A quarantine is a queue of dead letters: to resume is to retry them, to skip is to drop the first and retry the others.

mod output;

use anyhow::{Context, anyhow};
use pelton_core::id::Name;
use pelton_core::saga::instance::Instance;
use pelton_nats::Nats;
use pelton_nats::sagas::{Changed, SagaView, StoredInstance};

use crate::args::dlq::{DropArgs, FilterArgs, Kind, RetryArgs, SelectionArgs};
use crate::args::saga::{
    ChangeArgs, FireArgs, InstanceArgs, InstanceStatus, ListArgs, ResumeArgs, SagaCommand, SkipArgs,
};
use crate::config::{Config, SagaConfig};
use crate::exit::Failure;
use crate::{dlq, operator, server};
use output::Output;

/// Runs the subcommand.
pub(crate) async fn run(command: &SagaCommand) -> Result<(), Failure> {
    match command {
        SagaCommand::List(arguments) => list(arguments).await,
        SagaCommand::Show(arguments) => show(arguments).await,
        SagaCommand::Resume(arguments) => resume(arguments).await,
        SagaCommand::Skip(arguments) => skip(arguments).await,
        SagaCommand::Cancel(arguments) => cancel(arguments).await,
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
    let sagas: Vec<_> = match &arguments.saga {
        Some(saga) => vec![find(&config, saga)?],
        None => config.sagas.iter().collect(),
    };
    let (mut listed, mut more) = (Vec::new(), false);
    for (name, saga) in sagas {
        let view = SagaView::new(&nats, &saga.id);
        for id in view.instances().await.map_err(failed)? {
            let Some(stored) = view.instance(&id).await.map_err(failed)? else { continue };
            let is_wanted = match arguments.status {
                Some(wanted) => status(&stored.instance) == wanted,
                None => status(&stored.instance) != InstanceStatus::Ended,
            };
            let has_timer = |timer: &String| stored.instance.timers.contains_key(timer);
            if !is_wanted || !arguments.timer.as_ref().is_none_or(has_timer) {
                continue;
            }
            if listed.len() == arguments.limit {
                more = true;
                break;
            }
            listed.push((name.clone(), saga.id.clone(), stored));
        }
    }
    Output { json: arguments.server.json }.list(&listed);
    if more {
        eprintln!("there are more; --limit {} shows more", arguments.limit * 10);
    }
    Ok(())
}

async fn show(arguments: &InstanceArgs) -> Result<(), Failure> {
    let (opened, stored) = Opened::of(arguments).await?;
    Output { json: arguments.server.json }.show(&opened.name, &opened.saga.id, &stored);
    Ok(())
}

async fn resume(arguments: &ResumeArgs) -> Result<(), Failure> {
    let (opened, stored) = Opened::of(&arguments.change.of).await?;
    if status(&stored.instance) != InstanceStatus::Quarantined {
        return Err(Failure::Run(anyhow!("the instance {} is not quarantined: nothing waits", stored.id)));
    }
    dlq::retry(&opened.retry(arguments, &stored)).await
}

async fn skip(arguments: &SkipArgs) -> Result<(), Failure> {
    let SkipArgs { resume, reason } = arguments;
    let (opened, stored) = Opened::of(&resume.change.of).await?;
    if status(&stored.instance) != InstanceStatus::Quarantined {
        return Err(Failure::Run(anyhow!("the instance {} is not quarantined: nothing waits", stored.id)));
    }
    let RetryArgs { server, mut selection, .. } = opened.retry(resume, &stored);
    selection.filter.kind = Some(Kind::Failed);
    dlq::drop(&DropArgs { server, selection, reason: reason.clone() }).await?;
    if resume.change.dry_run {
        return Ok(());
    }
    dlq::retry(&opened.retry(resume, &stored)).await
}

async fn cancel(arguments: &ChangeArgs) -> Result<(), Failure> {
    let (opened, stored) = Opened::of(&arguments.of).await?;
    let what = match status(&stored.instance) {
        InstanceStatus::Ended => {
            return Err(Failure::Run(anyhow!("the instance {} has ended already", stored.id)));
        }
        _ => match stored.instance.timers.len() {
            0 => "end it".to_owned(),
            timers => format!("end it and cancel {timers} of its timers"),
        },
    };
    let output = Output { json: arguments.of.server.json };
    if arguments.dry_run {
        output.did(&opened.name, &stored.id, &format!("would {what}"));
        return Ok(());
    }
    match opened.view.cancel(&stored, opened.saga.keep, &who(arguments)).await.map_err(failed)? {
        Changed::Done => {
            output.did(&opened.name, &stored.id, "cancelled");
            Ok(())
        }
        Changed::Overtaken => Err(overtaken(&stored)),
    }
}

async fn fire(arguments: &FireArgs) -> Result<(), Failure> {
    let FireArgs { change, timer } = arguments;
    let (opened, stored) = Opened::of(&change.of).await?;
    let Some(armed) = stored.instance.timers.get(timer) else {
        let set: Vec<_> = stored.instance.timers.keys().map(String::as_str).collect();
        let set = if set.is_empty() { "none".to_owned() } else { set.join(", ") };
        return Err(Failure::Run(anyhow!(
            "the instance {} has no timer {timer} set; it has {set}",
            stored.id
        )));
    };
    let output = Output { json: change.of.server.json };
    if change.dry_run {
        let what = format!("would let {timer} go off, which is due at {}", armed.due);
        output.did(&opened.name, &stored.id, &what);
        return Ok(());
    }
    match opened.view.fire(&stored, timer, &who(change)).await.map_err(failed)? {
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
}

impl Opened {
    async fn of(arguments: &InstanceArgs) -> Result<(Self, StoredInstance), Failure> {
        let (config, nats): (Config, Nats) = server::connect(&arguments.server).await?;
        let (name, saga) = find(&config, &arguments.saga)?;
        let view = SagaView::new(&nats, &saga.id);
        let stored = view.instance(&arguments.instance).await.map_err(failed)?;
        let stored = stored
            .with_context(|| {
                format!("the saga {name} has no instance {}, or has forgotten it", arguments.instance)
            })
            .map_err(Failure::Run)?;
        Ok((Self { name: name.clone(), saga: saga.clone(), view }, stored))
    }

    /// The arguments of `pelton dlq retry` for the instance's dead letters.
    fn retry(&self, ResumeArgs { change, wait }: &ResumeArgs, stored: &StoredInstance) -> RetryArgs {
        let filter = FilterArgs {
            consumer: Some(self.saga.id.to_string()),
            key: Some(stored.id.to_string()),
            kind: None,
            stream: None,
            command: None,
            since: None,
            until: None,
        };
        let (dry_run, by) = (change.dry_run, change.by.clone());
        let selection = SelectionArgs { dead_letters: Vec::new(), filter, all: false, dry_run, by };
        RetryArgs { server: change.of.server.clone(), selection, wait: *wait }
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

fn who(arguments: &ChangeArgs) -> String {
    operator::name(arguments.by.as_deref())
}

fn overtaken(stored: &StoredInstance) -> Failure {
    Failure::Run(anyhow!("the instance {} has gone on meanwhile; look at it again", stored.id))
}

fn failed(away: pelton_core::store::Unavailable) -> Failure {
    Failure::Run(away.into())
}
