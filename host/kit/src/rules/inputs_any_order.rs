//! Timers and outcomes may come late, twice, in any order, and from other versions.

use bytes::Bytes;
use pelton_core::message::Metadata;
use pelton_core::saga::model::{CommandOutcome, DueTimer, InputContext, SagaInput, Timer};
use pelton_core::time::Timestamp;

use super::react_declared::check_reaction;
use super::{NO_SAGA, failed, not_applicable, not_tested, passed};
use crate::guest::broke;
use crate::inputs::START;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::{results, takes_outcomes};

pub(super) static RULE: Rule = Rule {
    id: "SG-04",
    name: "inputs-any-order",
    level: Level::Required,
    asserts: "timers of another form or an unknown type, and outcomes of unknown commands, twice and in any order, are handled or refused by name, in every state: they trap nothing, and lead to no commands and timers that are not declared",
    why: "timers of an older version go off, outcomes change, and an instance that traps is quarantined",
    mend: "ignore what the instance does not wait for; return a failure for what cannot be read",
    after: &["AL-02"],
    test,
};

/// How many states are tried.
const STATES: usize = 40;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(saga) = subject.saga() else { return not_applicable(NO_SAGA) };
    let descriptor = saga.descriptor();
    let outcomes = takes_outcomes(descriptor);
    if descriptor.timers.is_empty() && !outcomes {
        return not_applicable("the saga has neither timers nor outcomes");
    }
    let mut states: Vec<(&str, &[u8])> = Vec::new();
    for reacted in &subject.corpus.reactions {
        if let Ok(Ok(reaction)) = &reacted.reaction
            && let Some(state) = &reaction.state
            && states.iter().all(|(_, other)| other != state)
            && states.len() < STATES
        {
            states.push((&reacted.instance, state));
        }
    }
    if states.is_empty() {
        return not_tested("no case starts an instance that goes on; add one");
    }
    let mut inputs = Vec::new();
    if !descriptor.timers.is_empty() {
        inputs.extend(timers(subject, &descriptor.timers));
    }
    if outcomes {
        let types = descriptor.commands.iter().map(String::as_str).chain(["unknown-command"]);
        for r#type in types {
            for reference in references(subject) {
                inputs.extend(results().into_iter().map(|result| {
                    let (command_id, reference) = ("unknown".to_owned(), reference.clone());
                    SagaInput::Outcome(CommandOutcome {
                        command_id,
                        r#type: r#type.to_owned(),
                        reference,
                        time: START,
                        result,
                    })
                }));
            }
        }
    }
    let mut tried = 0;
    for (instance, state) in &states {
        for input in &inputs {
            let context = InputContext {
                input_id: format!("input-{tried}"),
                time: START,
                correlation_id: "case".to_owned(),
                metadata: Metadata::new(),
            };
            for _ in 0..2 {
                let wrong = match saga.react(instance, Some(state), input, &context) {
                    Err(fault) if broke(&fault) => Some(fault.what),
                    Err(_) => None,
                    Ok(Ok(reaction)) => check_reaction(&saga, &reaction).err(),
                    Ok(Err(_)) => None,
                };
                if let Some(what) = wrong {
                    return failed(format!("{} at {instance}: {what}", shown(input)));
                }
                tried += 1;
            }
        }
    }
    passed(tried, "inputs", "")
}

fn timers(subject: &Subject<'_>, types: &[String]) -> Vec<SagaInput> {
    let set = subject.corpus.reactions.iter().filter_map(|reacted| reacted.set().next());
    let mut random = subject.random();
    let right: Vec<Bytes> = set.take(4).map(|timer| timer.data.clone()).collect();
    let data = crate::hostile::data(&right, &mut random, 40);
    let names = types.iter().map(String::as_str).chain(["a-timer-of-another-version"]);
    let all = names.flat_map(|r#type| {
        right.iter().chain(&data).map(move |data| {
            let timer =
                Timer { id: "t".to_owned(), r#type: r#type.to_owned(), due: START, data: data.clone() };
            SagaInput::Timer(DueTimer { timer, time: START })
        })
    });
    let mut all: Vec<_> = all.collect();
    // After an outage timers are handed over long after they were due.
    let (long_ago, late) = (Timestamp(START.0 / 2), Timestamp(START.0 + START.0 / 2));
    let never = Timestamp(u64::MAX);
    for r#type in types {
        for (due, time) in [(Timestamp(1), START), (long_ago, late), (START, late), (never, never)] {
            let data = right.first().cloned().unwrap_or_default();
            let timer = Timer { id: "another".to_owned(), r#type: r#type.clone(), due, data };
            all.push(SagaInput::Timer(DueTimer { timer, time }));
        }
    }
    all
}

/// References of the saga's commands, an unknown one, and none.
fn references(subject: &Subject<'_>) -> Vec<Option<String>> {
    let mut all = vec![None, Some("unknown".to_owned())];
    for reacted in &subject.corpus.reactions {
        if let Ok(Ok(reaction)) = &reacted.reaction {
            for command in &reaction.commands {
                if all.len() < 6 && !all.contains(&command.reference) {
                    all.push(command.reference.clone());
                }
            }
        }
    }
    all
}

fn shown(input: &SagaInput) -> String {
    match input {
        SagaInput::Timer(due) => format!("the timer {} {}", due.timer.r#type, super::short(&due.timer.data)),
        SagaInput::Outcome(outcome) => {
            format!("the outcome of {} ({:?}): {:?}", outcome.r#type, outcome.reference, outcome.result)
        }
        SagaInput::Event(event) => event.event.r#type.clone(),
    }
}
