//! A handler folds every event that it lists in `folds`.

use bytes::Bytes;
use pelton_core::command::ports::Isolation;
use pelton_core::message::{EventType, RecordedEvent};
use pelton_wasm::SchemaKind;

use super::{NO_HANDLER, failed, not_applicable, not_tested, short};
use crate::corpus::{each_type, of_schema};
use crate::guest::History;
use crate::inputs::{START, event_of};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-12",
    name: "old-events",
    level: Level::Required,
    asserts: "every event that the descriptor lists in `folds`, in every version, is folded",
    why: "an entity with such an event takes no commands until a plugin runs that can fold it",
    mend: "read the old form in `evolve`, or take it out of `folds` once no entity has it",
    after: &["AL-02"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let folds = &handler.descriptor().folds;
    let mut happened: Vec<RecordedEvent> = Vec::new();
    for history in &subject.corpus.histories {
        match handler.folded(Isolation::Shared, history) {
            Ok(_) => happened.extend(history.events.iter().cloned()),
            Err(fault) => {
                let types: Vec<_> = history.events.iter().map(|event| event.event.r#type.as_str()).collect();
                return failed(format!(
                    "{} with the events {}: {}",
                    history.entity,
                    types.join(", "),
                    fault.what
                ));
            }
        }
    }
    let found = each_type(folds, &happened);
    let mut random = subject.random();
    let (mut missing, mut tried) = (Vec::new(), happened.len());
    for EventType { r#type, version } in folds {
        if found.get(&(r#type.as_str(), *version)).is_some_and(|events| !events.is_empty()) {
            continue;
        }
        let made: Vec<Bytes> = of_schema(subject.plugin, SchemaKind::Event, r#type, *version, &mut random);
        let named = format!("{type} version {version}");
        let mut why = None;
        let mut folded = false;
        for data in &made {
            let entity = subject.corpus.histories.first().map_or("1", |history| history.entity.as_str());
            let event = event_of(r#type, *version, entity, data.clone(), START, 1);
            match handler
                .folded(Isolation::Shared, &History { entity: entity.to_owned(), events: vec![event] })
            {
                Ok(_) => folded = true,
                Err(fault) => why = Some(format!("{named} {}: {}", short(data), fault.what)),
            }
            tried += 1;
        }
        match (made.is_empty(), folded, why) {
            (true, ..) => missing.push(named),
            (_, true, _) => {}
            // None of the events that its own schema allows is folded.
            (_, false, why) => return failed(why.unwrap_or(named)),
        }
    }
    match missing.as_slice() {
        [] => super::passed(tried, "events of every type and version", super::NO_EVENTS),
        missing => not_tested(format!("there is no event {}; add a case or a schema", missing.join(", "))),
    }
}
