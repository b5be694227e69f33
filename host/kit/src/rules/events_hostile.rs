//! What is stored and cannot be read is said.

use futures::FutureExt;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};
use pelton_core::message::RecordedEvent;
use pelton_core::plugin::{FaultKind, PluginFault};
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::ports::SagaPlugin;

use super::{MOST, NO_EVENTS, failed, passed};
use crate::hostile;
use crate::rule::{Finding, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "AL-02",
    name: "events-hostile",
    asserts: "an event with any data is folded or refused by name, and traps nothing, in every role",
    why: "an event that traps cannot be told from a mistake of the plugin, and costs its neighbours a load",
    mend: "return an error from `evolve`, `keys`, `project` or `correlate` for what cannot be read",
    after: &[],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let mut random = subject.random();
    let all: Vec<&RecordedEvent> =
        subject.histories.iter().flat_map(|history| &history.events).chain(&subject.happenings).collect();
    let mut tried = 0;
    for like in all.iter().take(MOST / 8) {
        for data in hostile::data(std::slice::from_ref(&like.event.data), &mut random) {
            let mut event = RecordedEvent::clone(like);
            event.event.data = data;
            if let Err(fault) = handed_over(subject, &event).await
                && fault.kind != FaultKind::Refused
            {
                let shown: String = String::from_utf8_lossy(&event.event.data).chars().take(80).collect();
                return failed(format!("{} with the data {shown:?}: {}", event.event.r#type, fault.what));
            }
            tried += 1;
        }
    }
    passed(tried, "events", NO_EVENTS)
}

async fn handed_over(subject: &Subject<'_>, event: &RecordedEvent) -> Result<(), PluginFault> {
    let entity = event.event.subject.as_deref().unwrap_or("1");
    if let Some(handler) = subject.plugin.handler() {
        handler.create(entity, Isolation::Shared).await?.evolve(std::slice::from_ref(event)).await?;
    }
    if let Some(projection) = subject.plugin.projection() {
        let _ = projection.keys(std::slice::from_ref(event)).await?;
    }
    if let Some(saga) = subject.plugin.saga() {
        let _ = saga.correlate(event).await?;
    }
    Ok(())
}
