//! A saga takes over the state of another version in the same way each time.

use pelton_core::saga::model::Timer;

use super::{NO_SAGA, failed, not_applicable, not_tested, passed};
use crate::guest::broke;
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::Reacted;

pub(super) static RULE: Rule = Rule {
    id: "SG-06",
    name: "migrate-same",
    level: Level::Required,
    asserts: "`migrate` depends on its arguments alone, and refuses by name what it cannot take over",
    why: "after a crash an instance is taken over again: another state would contradict what it did",
    mend: "keep nothing between calls; return an error for what cannot be read",
    after: &["AL-02", "SG-02"],
    test,
};

/// The most timers that an instance has when it is taken over.
const TIMERS: usize = 8;

fn test(subject: &Subject<'_>) -> Finding {
    let (Some(fresh), Some(warm)) = (subject.fresh_saga(), subject.saga()) else {
        return not_applicable(NO_SAGA);
    };
    if !subject.plugin.exports().iter().any(|export| export.contains("saga-migration")) {
        return not_applicable("the saga migrates no instances");
    }
    let mut random = subject.random();
    let (mut tried, mut migrated) = (0, 0);
    let timers = timers(subject);
    let now = fresh.descriptor().state_version;
    let states =
        subject.corpus.reactions.iter().filter_map(|reacted| Some((reacted, reacted.state.clone()?)));
    for (reacted, state) in states.take(12) {
        let mut all = vec![bytes::Bytes::from(state)];
        all.extend(hostile::data(&all.clone(), &mut random, 20));
        for state in all {
            for version in [now.saturating_sub(1), now + 1, u32::MAX] {
                let first = fresh.migrate(&reacted.instance, version, &state, &timers);
                if let Ok(Some(Ok(one))) = &first {
                    migrated += 1;
                    let mut types = one.timers.iter().map(|timer| &timer.r#type);
                    if let Some(odd) = types.find(|r#type| !fresh.descriptor().timers.contains(r#type)) {
                        return failed(format!(
                            "from version {version}: it sets a timer of type {odd:?}, which its descriptor does not list"
                        ));
                    }
                }
                for _ in 0..2 {
                    let again = warm.migrate(&reacted.instance, version, &state, &timers);
                    match (&first, &again) {
                        (Err(fault), _) | (_, Err(fault)) if broke(fault) => {
                            return failed(format!(
                                "from version {version} {}: {}",
                                super::short(&state),
                                fault.what
                            ));
                        }
                        (Ok(one), Ok(other)) if one != other => {
                            return failed(format!("from version {version}: {one:?} → {other:?}"));
                        }
                        _ => tried += 1,
                    }
                }
            }
        }
    }
    match (tried, migrated) {
        (0, _) => not_tested("no case has an instance that goes on; add one"),
        (_, 0) => not_tested(
            "none of the states that follow from cases could be taken over: it needs those of another version; test `migrate` with the SDK",
        ),
        (tried, migrated) => passed(tried, &format!("states, {migrated} of them taken over"), ""),
    }
}

/// Timers that an instance may have set.
fn timers(subject: &Subject<'_>) -> Vec<Timer> {
    let mut all: Vec<Timer> = Vec::new();
    for timer in subject.corpus.reactions.iter().flat_map(Reacted::set) {
        if all.len() < TIMERS && all.iter().all(|known| known.id != timer.id) {
            all.push(timer.clone());
        }
    }
    all
}
