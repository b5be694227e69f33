//! The instances that an event concerns depend on the event alone.

use super::{NO_EVENTS, NO_SAGA, failed, not_applicable, passed, short};
use crate::guest::words;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::check_instance;

pub(super) static RULE: Rule = Rule {
    id: "SG-01",
    name: "correlate-alone",
    level: Level::Required,
    asserts: "`correlate` names the same instances for an event on every try, whatever was before, under ids that the host can keep",
    why: "after a crash an event is handled again: it would reach an instance twice, or never",
    mend: "derive the instances from the event, and from nothing else",
    after: &["AL-02"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let (Some(fresh), Some(warm)) = (subject.fresh_saga(), subject.saga()) else {
        return not_applicable(NO_SAGA);
    };
    let mut first = Vec::new();
    for event in subject.corpus.streams.iter().flatten() {
        let named = |concerned: Result<_, pelton_core::plugin::PluginFault>| match concerned {
            Ok(Ok(concerned)) => Ok(concerned),
            Ok(Err(failure)) => Err(words(&failure)),
            Err(fault) => Err(fault.what),
        };
        let shown = format!("{} {}", event.event.r#type, short(&event.event.data));
        let concerned: Result<Vec<pelton_core::saga::model::Correlation>, String> =
            named(fresh.correlate(event));
        // A fault breaks the contract; a failure is an answer.
        if let Err(fault) = fresh.correlate(event) {
            return failed(format!("{shown}: {}", fault.what));
        }
        if let Ok(concerned) = &concerned
            && let Some(wrong) = concerned.iter().find_map(|concern| check_instance(&concern.instance).err())
        {
            return failed(format!("{shown}: {wrong}"));
        }
        let again = named(warm.correlate(event));
        if again != concerned {
            return failed(format!("{shown}: first {concerned:?}, then {again:?}"));
        }
        first.push((event, shown, concerned));
    }
    // Once more, after reactions.
    for reacted in &subject.corpus.reactions {
        let _ = reacted.again(&warm);
    }
    for (event, shown, concerned) in first.iter().rev() {
        let again = match warm.correlate(event) {
            Ok(Ok(again)) => Ok(again),
            Ok(Err(failure)) => Err(words(&failure)),
            Err(fault) => Err(fault.what),
        };
        if again != *concerned {
            return failed(format!("{shown}: first {concerned:?}, and after reactions {again:?}"));
        }
    }
    passed(first.len(), "events", NO_EVENTS)
}
