//! The items of a report: cases, what no case uses, and rules.

use std::time::Duration;

use super::{Report, RuleResult, parts};
use crate::rule::{Finding, Level};

/// The result of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Passed,
    Failed,
    /// A recommended rule is broken.
    Warned,
    /// There was nothing to test, or another rule is broken.
    Skipped,
}

/// A case, a rule, or something that no case uses.
#[derive(Debug)]
pub(super) struct Item {
    /// `cases`, `rules` or `strict`.
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) status: Status,
    /// What was tried, what is wrong, or what is missing; one or more lines.
    pub(super) what: String,
    pub(super) took: Duration,
}

impl Report {
    /// All items, in order, but for rules that do not apply to the plugin.
    pub(super) fn items(&self) -> Vec<Item> {
        let cases = self.cases.iter().map(|case| Item {
            group: "cases",
            name: format!("{} ({})", case.name, case.file.display()),
            status: if case.passed() { Status::Passed } else { Status::Failed },
            what: case.differences.join("\n"),
            took: Duration::ZERO,
        });
        let strict = self.strict.iter().flatten().map(|unused| Item {
            group: "strict",
            name: unused.clone(),
            status: Status::Failed,
            what: unused.clone(),
            took: Duration::ZERO,
        });
        let rules = self.rules.iter().filter_map(rule);
        cases.chain(strict).chain(rules).collect()
    }
}

fn rule(RuleResult { rule, finding, took }: &RuleResult) -> Option<Item> {
    let status = match finding {
        Finding::Passed { .. } => Status::Passed,
        Finding::Failed { .. } if rule.level == Level::Required => Status::Failed,
        Finding::Failed { .. } => Status::Warned,
        Finding::NotTested { .. } | Finding::Blocked { .. } => Status::Skipped,
        Finding::NotApplicable { .. } => return None,
    };
    let what = match finding {
        Finding::Blocked { by } => format!("{by} is broken"),
        Finding::Failed { how } => format!("{how}\nwhy it matters: {}\nwhat to do: {}", rule.why, rule.mend),
        other => parts(other).1.to_owned(),
    };
    Some(Item { group: "rules", name: format!("{} {}", rule.id, rule.name), status, what, took: *took })
}
