//! A snapshot holds all that decisions depend on.

use futures::FutureExt;
use pelton_core::command::ports::{EntityInstance, HandlerPlugin, Isolation};

use super::{MOST, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{History, Subject, decided, folded, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-06",
    name: "snapshot-restore",
    asserts: "restored from its snapshot, an entity decides as before, also after more events",
    why: "an entity that is loaded from a snapshot, or handed on to another version, would decide on a state that never was",
    mend: "put everything that `decide` or `evolve` reads into the snapshot",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let mut random = subject.random();
    let mut tried = 0;
    for (history, command) in subject.decisions(MOST) {
        let expected = decided(handler, Isolation::Shared, history, &command).await;
        // All of it, and a part with the rest behind it.
        for at in [history.events.len(), random.usize(0..=history.events.len())] {
            let (first, rest) = history.events.split_at(at);
            let part = History { entity: history.entity.clone(), events: first.to_vec() };
            let Ok(mut entity) = folded(handler, Isolation::Shared, &part).await else { continue };
            let snapshot = match entity.snapshot().await {
                Ok(Some(snapshot)) => snapshot,
                Ok(None) => continue,
                Err(fault) => return failed(format!("{}: its snapshot: {}", history.entity, fault.what)),
            };
            let restored = match handler.restore(&history.entity, &snapshot, Isolation::Shared).await {
                Ok(restored) => restored,
                Err(fault) => Err(fault.what),
            };
            let mut restored = match restored {
                Ok(restored) => restored,
                Err(why) => {
                    return failed(format!(
                        "{}: it does not take its own snapshot back: {why}",
                        history.entity
                    ));
                }
            };
            let answer = match restored.evolve(rest).await {
                Ok(()) => restored.decide(&command).await,
                Err(fault) => Err(fault),
            };
            if !same(&expected, &answer) {
                return failed(format!(
                    "{} on {}: {} with all events, {} from a snapshot after {at} of {}",
                    command.r#type,
                    history.entity,
                    shown(&expected),
                    shown(&answer),
                    history.events.len()
                ));
            }
            tried += 1;
        }
    }
    passed(tried, "decisions from snapshots", "the plugin gives no snapshots, or no case has a command")
}
