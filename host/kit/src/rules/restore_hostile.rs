//! A handler refuses bytes that are not a snapshot.

use bytes::Bytes;
use pelton_core::command::ports::Isolation;

use super::{NO_HANDLER, failed, not_applicable, passed, short};
use crate::guest::broke;
use crate::hostile;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-14",
    name: "restore-hostile",
    level: Level::Recommended,
    asserts: "bytes that are not a snapshot are refused with an error and do not trap",
    why: "the host folds all events instead in both cases; a trap costs the neighbours a load, and says less",
    mend: "return an error from `restore`, and raise `state-version` with every change of the form",
    after: &["CH-09"],
    test,
};

/// How many snapshots are changed.
const SNAPSHOTS: usize = 6;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let mut random = subject.random();
    let mut tried = 0;
    for history in subject.corpus.histories.iter().rev().take(SNAPSHOTS) {
        let snapshot = handler.folded(Isolation::Shared, history).and_then(|mut entity| entity.snapshot());
        let Ok(Some(snapshot)) = snapshot else { continue };
        for bytes in hostile::data(&[Bytes::from(snapshot)], &mut random, 60) {
            if let Err(fault) = handler.restore(&history.entity, &bytes, Isolation::Shared)
                && broke(&fault)
            {
                return failed(format!("{}: {}", short(&bytes), fault.what));
            }
            tried += 1;
        }
    }
    match tried {
        0 => not_applicable("the plugin gives no snapshots"),
        tried => passed(tried, "snapshots that are none", ""),
    }
}
