//! A saga reacts the same on every try.

use futures::FutureExt;
use pelton_core::id::InstanceId;
use pelton_core::saga::model::{InputContext, SagaInput};
use pelton_core::saga::ports::SagaPlugin;

use super::{NO_EVENTS, NO_SAGA, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::Subject;
use crate::view;

pub(super) static RULE: Rule = Rule {
    id: "SG-01",
    name: "react-same",
    asserts: "what an event concerns, and what an instance does about it, is the same on every try",
    why: "after a crash an input is handled again under the same ids of commands: another reaction would contradict what was sent",
    mend: "keep nothing between calls; take the time from the input's context",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(saga) = subject.plugin.saga() else { return not_tested(NO_SAGA) };
    let mut tried = 0;
    for event in &subject.happenings {
        let mut seen = None;
        for _ in 0..3 {
            let concerns = match saga.correlate(event).await {
                Ok(Ok(concerns)) => concerns,
                Ok(Err(failure)) => return failed(view::words(failure)),
                Err(fault) => return failed(fault.what),
            };
            let mut reactions = Vec::new();
            for concern in &concerns {
                let instance = match InstanceId::new(&concern.instance) {
                    Ok(instance) => instance,
                    Err(error) => return failed(format!("the instance {:?} {error}", concern.instance)),
                };
                let (input, context) = (SagaInput::Event(event.clone()), InputContext::of_event(event));
                match saga.react(&instance, None, &input, &context).await {
                    Ok(reaction) => reactions.push(reaction),
                    Err(fault) => return failed(fault.what),
                }
            }
            let now = (concerns, reactions);
            match &seen {
                None => seen = Some(now),
                Some(first) if *first == now => tried += 1,
                Some(first) => {
                    return failed(format!("{}: first {first:?}, then {now:?}", event.event.r#type));
                }
            }
        }
    }
    passed(tried, "reactions, again", NO_EVENTS)
}
