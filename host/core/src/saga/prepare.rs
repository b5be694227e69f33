//! What an input means to an instance as it is now: one call of the plugin, several, or none.

use crate::cloudevents::{CAUSATION_ID, CORRELATION_ID, DEPTH, TRACEPARENT};
use crate::dead_letter::Retries;
use crate::id::{InputKey, InstanceId};
use crate::message::{Metadata, RecordedEvent};
use crate::outcomes::CommandReport;
use crate::retry::NotProcessed;
use crate::saga::input::{Input, What};
use crate::saga::instance::Instance;
use crate::saga::model::{CommandOutcome, DueTimer, InputContext, Relation, SagaInput, Timer};
use crate::saga::ports::{SagaPlugin, SagaStore};
use crate::saga::timers::Due;
use crate::saga::{Loaded, SagaFlow};
use crate::time::Timestamp;

/// One call of the plugin.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The input that the plugin gets.
    pub(super) input: SagaInput,
    pub(super) context: InputContext,
    /// Tells this input from all others of the instance. The ids of commands follow from it.
    pub(super) key: InputKey,
    /// The metadata that the commands share.
    pub(super) process: Metadata,
    /// How many reactions of sagas led to this one without a pause.
    pub(super) depth: u32,
    /// The input, for people.
    pub(super) what: String,
}

/// A call of the plugin, and whether the input is handled after it.
pub(super) struct Next {
    pub(super) prepared: Prepared,
    pub(super) is_last: bool,
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// The next call of the plugin that the input leads to. `None` if there is none.
    pub(super) async fn prepare(
        &self,
        id: &InstanceId,
        input: &Input,
        loaded: &mut Loaded,
    ) -> Result<Option<Next>, NotProcessed> {
        let instance = &mut loaded.instance;
        let only = |prepared| Ok(Some(Next { prepared, is_last: true }));
        match &input.what {
            What::Event(event, relation) => {
                let starts = match relation {
                    Some(Relation::Start) => true,
                    Some(Relation::StartOnce) => !instance.has_ended(),
                    Some(Relation::Advance) | None => false,
                };
                if instance.state.is_none() && !starts {
                    tracing::debug!("ignored: {}", missing(instance));
                    return Ok(None);
                }
                only(event_input(event))
            }
            What::Outcome(report) => match is_awaited(instance, report) {
                Ok(()) if self.plugin.descriptor().takes_outcomes => {
                    only(outcome_input(instance, report, input))
                }
                Ok(()) => Ok(None),
                Err(why) => {
                    tracing::debug!(command = %report.command_id, "ignored: {why}");
                    Ok(None)
                }
            },
            What::Timer(fired) => match self.due(id, instance, fired, input).await? {
                Due::Now { timer, key, is_last } => {
                    let prepared = timer_input(instance, timer, key, input.time());
                    Ok(Some(Next { prepared, is_last }))
                }
                Due::Never(why) => {
                    tracing::debug!(timer = fired.id, "ignored: {why}");
                    Ok(None)
                }
                Due::Later => {
                    self.arm_again(id, fired, loaded).await?;
                    Ok(None)
                }
            },
        }
    }
}

/// Why an input finds no instance.
pub(super) fn missing(instance: &Instance) -> &'static str {
    match instance.has_ended() {
        true => "the instance has ended",
        false => "there is no such instance, or it ended long ago",
    }
}

fn is_awaited(instance: &Instance, report: &CommandReport) -> Result<(), &'static str> {
    if instance.state.is_none() {
        return Err(missing(instance));
    }
    let open = report.command_id.in_instance().and_then(|command| instance.open.get(command));
    match open {
        None => {
            Err("the outcome of this command has come before, or it is of an earlier life of the instance")
        }
        Some(open) if open.set_aside && !report.result.is_final() => Err("it was told before"),
        Some(_) => Ok(()),
    }
}

fn event_input(event: &RecordedEvent) -> Prepared {
    let context = InputContext::of_event(event);
    let trace = event.event.extension(TRACEPARENT).map(|trace| (TRACEPARENT.to_owned(), trace.to_owned()));
    let depth = event.event.extension(DEPTH).and_then(|depth| depth.parse().ok()).unwrap_or_default();
    Prepared {
        key: InputKey::of_event(&event.stream, event.position()),
        process: process(&context.correlation_id, &event.event.id, trace),
        depth,
        what: event.event.r#type.clone(),
        input: SagaInput::Event(event.clone()),
        context,
    }
}

fn timer_input(instance: &Instance, timer: Timer, key: InputKey, time: Timestamp) -> Prepared {
    let correlation_id = instance.correlation_id.clone();
    Prepared {
        process: process(&correlation_id, key.as_str(), None),
        // The wait for the timer was a pause, so the count begins anew.
        depth: 0,
        what: format!("timer {}", timer.id),
        context: context(&key, time, correlation_id),
        input: SagaInput::Timer(DueTimer { timer, time }),
        key,
    }
}

fn outcome_input(instance: &mut Instance, report: &CommandReport, input: &Input) -> Prepared {
    let time = input.time();
    let life = instance.life.clone().unwrap_or_else(|| InputKey::of_event("", input.position));
    let key = InputKey::of_outcome(&life, instance.numbered + 1);
    let correlation_id = instance.correlation_id.clone();
    let outcome = CommandOutcome {
        command_id: report.command_id.to_string(),
        r#type: report.r#type.clone(),
        reference: report.reference.clone(),
        time,
        result: report.result.clone(),
    };
    let code = match &report.result {
        crate::outcomes::CommandResult::Rejected(rejection) => format!(" {}", rejection.code),
        _ => String::new(),
    };
    Prepared {
        process: process(&correlation_id, report.command_id.as_str(), None),
        depth: report.depth,
        what: format!("outcome of {}: {}{code}", report.r#type, report.result.as_str()),
        context: context(&key, time, correlation_id),
        input: SagaInput::Outcome(outcome),
        key,
    }
}

fn context(key: &InputKey, time: Timestamp, correlation_id: String) -> InputContext {
    InputContext { input_id: key.to_string(), time, correlation_id, metadata: Metadata::new() }
}

fn process(correlation_id: &str, cause: &str, trace: Option<(String, String)>) -> Metadata {
    let ours =
        [(CORRELATION_ID.to_owned(), correlation_id.to_owned()), (CAUSATION_ID.to_owned(), cause.to_owned())];
    ours.into_iter().chain(trace).collect()
}
