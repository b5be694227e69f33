//! The rules, one file each.

mod decide_ahead;
mod decide_declared;
mod decide_hostile;
mod decide_pure;
mod decide_same;
mod describe_same;
mod entities_apart;
mod events_hostile;
mod fold_split;
mod keys_alone;
mod project_batches;
mod project_same;
mod react_declared;
mod react_same;
mod snapshot_restore;

use crate::rule::{Finding, Rule};

/// All rules, in the order in which they are tested.
pub(crate) static ALL: &[&Rule] = &[
    &describe_same::RULE,
    &decide_declared::RULE,
    &decide_same::RULE,
    &decide_pure::RULE,
    &fold_split::RULE,
    &entities_apart::RULE,
    &snapshot_restore::RULE,
    &decide_ahead::RULE,
    &decide_hostile::RULE,
    &keys_alone::RULE,
    &project_same::RULE,
    &project_batches::RULE,
    &react_same::RULE,
    &react_declared::RULE,
    &events_hostile::RULE,
];

/// The most decisions that a rule tries.
const MOST: usize = 400;

fn failed(how: impl Into<String>) -> Finding {
    Finding::Failed { how: how.into() }
}

fn not_tested(why: &str) -> Finding {
    Finding::NotTested { why: why.to_owned() }
}

/// So many were tried, and all was well; or there was nothing to try.
fn passed(count: usize, what: &str, missing: &str) -> Finding {
    match count {
        0 => not_tested(missing),
        count => Finding::Passed { tried: format!("{count} {what}") },
    }
}

const NO_HANDLER: &str = "the plugin is not a command handler";
const NO_PROJECTION: &str = "the plugin is not a projection";
const NO_SAGA: &str = "the plugin is not a saga";
const NO_COMMANDS: &str = "no case has a command; add one";
const NO_EVENTS: &str = "no case has events; add one";
