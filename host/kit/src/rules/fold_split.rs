//! It does not matter how events are handed over.

use futures::FutureExt;
use pelton_core::command::ports::{EntityInstance, Isolation};

use super::{MOST, NO_HANDLER, failed, not_tested, passed};
use crate::rule::{Finding, Rule};
use crate::run::{History, Subject, decided, folded, same, shown};

pub(super) static RULE: Rule = Rule {
    id: "CH-04",
    name: "fold-split",
    asserts: "events folded one by one, all at once or in any pieces lead to the same decisions",
    why: "the host folds what it loads at once and what it stores one by one: hosts would decide differently",
    mend: "treat each event by itself in `evolve`",
    after: &["CH-01"],
    test: |subject| test(subject).boxed(),
};

async fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.plugin.handler() else { return not_tested(NO_HANDLER) };
    let mut random = subject.random();
    let mut tried = 0;
    for (history, command) in subject.decisions(MOST) {
        if history.events.len() < 2 {
            continue;
        }
        let whole = decided(handler, Isolation::Shared, history, &command).await;
        let at = random.usize(1..history.events.len());
        for pieces in
            [history.events.chunks(1).collect::<Vec<_>>(), vec![&history.events[..at], &history.events[at..]]]
        {
            let empty = History { entity: history.entity.clone(), events: Vec::new() };
            let mut entity = match folded(handler, Isolation::Shared, &empty).await {
                Ok(entity) => entity,
                Err(fault) => return failed(fault.what),
            };
            for piece in &pieces {
                if let Err(fault) = entity.evolve(piece).await {
                    return failed(format!(
                        "{}: folded in {} pieces, {}",
                        history.entity,
                        pieces.len(),
                        fault.what
                    ));
                }
            }
            let answer = entity.decide(&command).await;
            if !same(&whole, &answer) {
                return failed(format!(
                    "{} on {}: {} with all events at once, {} with {} pieces",
                    command.r#type,
                    history.entity,
                    shown(&whole),
                    shown(&answer),
                    pieces.len()
                ));
            }
            tried += 1;
        }
    }
    passed(tried, "folds", "no case gives a handler two events; add one")
}
