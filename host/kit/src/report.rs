//! What a suite has found, for a terminal and for programs.

use std::fmt::Write;
use std::path::PathBuf;

use pelton_wasm::LoadedPlugin;
use serde_json::{Value, json};

use crate::rule::{Finding, Rule};

/// What came of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// The file of the case.
    pub file: PathBuf,
    /// The name of the case.
    pub name: String,
    /// Where the plugin does otherwise, one difference a line; none: it passed.
    pub differences: Vec<String>,
}

/// What came of a rule.
#[derive(Debug)]
pub struct RuleResult {
    /// The rule.
    pub rule: &'static Rule,
    /// What it found.
    pub finding: Finding,
}

/// What came of a suite.
#[derive(Debug)]
pub struct Report {
    /// The name of the component.
    pub plugin: String,
    /// The digest of the component, with that of its settings.
    pub digest: String,
    /// The seed.
    pub seed: u64,
    /// The cases, as they stand in their files.
    pub cases: Vec<CaseResult>,
    /// The rules, in order.
    pub rules: Vec<RuleResult>,
}

impl Report {
    pub(crate) fn of(plugin: &LoadedPlugin, seed: u64) -> Self {
        let (name, digest) = (plugin.name().to_owned(), plugin.digest().to_owned());
        Self { plugin: name, digest, seed, cases: Vec::new(), rules: Vec::new() }
    }

    /// The ids of the rules that are broken so far, or blocked.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rules
            .iter()
            .filter(|result| matches!(result.finding, Finding::Failed { .. } | Finding::Blocked { .. }))
            .map(|result| result.rule.id)
    }

    /// Whether no case and no rule failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.differences.is_empty()) && self.broken().next().is_none()
    }

    /// For a terminal: one line a rule, and the cases that failed.
    #[must_use]
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for case in self.cases.iter().filter(|case| !case.differences.is_empty()) {
            let _ = writeln!(text, "case {:?} FAIL ({})", case.name, case.file.display());
            case.differences.iter().for_each(|difference| {
                let _ = writeln!(text, "  {difference}");
            });
        }
        let passed = self.cases.iter().filter(|case| case.differences.is_empty()).count();
        let _ = writeln!(text, "{passed} of {} cases as expected", self.cases.len());
        for RuleResult { rule, finding } in &self.rules {
            let (mark, what) = match finding {
                Finding::Passed { tried } => ("ok  ", tried.clone()),
                Finding::Failed { how } => ("FAIL", how.clone()),
                Finding::NotTested { why } => ("-   ", format!("not tested: {why}")),
                Finding::Blocked { by } => ("-   ", format!("not tested: {by} is broken")),
            };
            let _ = writeln!(text, "{} {:<18} {mark} {what}", rule.id, rule.name);
            if matches!(finding, Finding::Failed { .. }) {
                let _ = writeln!(text, "  why it matters: {}\n  what to do: {}", rule.why, rule.mend);
            }
        }
        let count = |is: fn(&Finding) -> bool| self.rules.iter().filter(|result| is(&result.finding)).count();
        let ok = count(|finding| matches!(finding, Finding::Passed { .. }));
        let failed = count(|finding| matches!(finding, Finding::Failed { .. }));
        let _ =
            writeln!(text, "{ok} rules ok, {failed} failed, {} not tested", self.rules.len() - ok - failed);
        let broken = self.rules.iter().find(|result| matches!(result.finding, Finding::Failed { .. }));
        if let Some(RuleResult { rule, .. }) = broken {
            let _ = writeln!(text, "again: --seed {} --rule {}", self.seed, rule.id);
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let cases = self.cases.iter().map(|case| {
            json!({ "file": case.file.display().to_string(), "name": case.name, "differences": case.differences })
        });
        let rules = self.rules.iter().map(|RuleResult { rule, finding }| {
            let (finding, what) = match finding {
                Finding::Passed { tried } => ("passed", tried.as_str()),
                Finding::Failed { how } => ("failed", how.as_str()),
                Finding::NotTested { why } => ("not-tested", why.as_str()),
                Finding::Blocked { by } => ("blocked", *by),
            };
            json!({ "id": rule.id, "name": rule.name, "finding": finding, "what": what })
        });
        json!({
            "plugin": self.plugin,
            "digest": self.digest,
            "seed": self.seed,
            "passed": self.passed(),
            "cases": cases.collect::<Vec<_>>(),
            "rules": rules.collect::<Vec<_>>(),
        })
    }
}
