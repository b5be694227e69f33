//! The report of a suite.

mod forms;
mod item;
mod terminal;

use std::path::PathBuf;
use std::time::Duration;

use pelton_wasm::LoadedPlugin;
use serde_json::{Map, Value, json};

pub use forms::Form;

use crate::meter::Usage;
use crate::rule::{Finding, Level, Rule};
use crate::run::Suite;

/// The result of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// The file of the case.
    pub file: PathBuf,
    /// The name of the case.
    pub name: String,
    /// The differences from the expected result. The case passed if there are none.
    pub differences: Vec<String>,
    /// The result of each step.
    pub got: Vec<GotStep>,
}

/// The result of a step, in the form of `then`.
#[derive(Debug, Clone, Default)]
pub struct GotStep {
    /// The keys of `then` with their values.
    pub then: Vec<(&'static str, Value)>,
}

/// The result of a rule.
#[derive(Debug)]
pub struct RuleResult {
    /// The rule.
    pub rule: &'static Rule,
    /// The rule's finding.
    pub finding: Finding,
    /// How long it took.
    pub took: Duration,
}

/// The report of a suite.
#[derive(Debug)]
pub struct Report {
    /// The name of the component.
    pub plugin: String,
    /// The digest of the component alone.
    pub component: String,
    /// The digest of the component, with that of its settings.
    pub digest: String,
    /// The seed.
    pub seed: u64,
    /// The results of the cases, in the order of their files.
    pub cases: Vec<CaseResult>,
    /// What a strict suite found: declarations that no case uses, and wrong entries of `left-out`. `None` if it was not
    /// strict, or had to test single rules.
    pub strict: Option<Vec<String>>,
    /// The results of the rules, in order.
    pub rules: Vec<RuleResult>,
    /// The number of calls, and the longest.
    pub usage: Usage,
    /// The time limit of a call.
    pub call_time: Duration,
    /// How long the suite took.
    pub took: Duration,
}

impl Report {
    pub(crate) fn of(plugin: &LoadedPlugin, suite: &Suite<'_>) -> Self {
        Self {
            plugin: plugin.name().to_owned(),
            component: plugin.component_digest().to_owned(),
            digest: plugin.digest().to_owned(),
            seed: suite.seed,
            cases: Vec::new(),
            strict: None,
            rules: Vec::new(),
            usage: Usage::default(),
            call_time: suite.activation.limits.call_time,
            took: Duration::ZERO,
        }
    }

    /// The ids of the rules that are broken so far, or blocked.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rules
            .iter()
            .filter(|result| matches!(result.finding, Finding::Failed { .. } | Finding::Blocked { .. }))
            .map(|result| result.rule.id)
    }

    /// The rules that are broken, in order.
    pub fn failed(&self) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(|result| matches!(result.finding, Finding::Failed { .. }))
    }

    /// Whether no case and no required rule failed, and a strict suite found nothing unused.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(CaseResult::passed)
            && self.failed().all(|result| result.rule.level != Level::Required)
            && self.strict.as_ref().is_none_or(Vec::is_empty)
    }

    /// The rules that had nothing to test.
    pub fn not_tested(&self) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(|result| matches!(result.finding, Finding::NotTested { .. }))
    }

    /// The report as JSON, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let cases = self.cases.iter().map(|case| {
            json!({ "file": case.file.display().to_string(), "name": case.name, "differences": case.differences })
        });
        let rules = self.rules.iter().map(|RuleResult { rule, finding, took }| {
            let (finding, what) = parts(finding);
            json!({
                "id": rule.id, "name": rule.name, "level": rule.level.as_str(), "finding": finding, "what": what,
                "milliseconds": milliseconds(*took),
            })
        });
        let mut all = Map::new();
        all.insert("plugin".to_owned(), json!(self.plugin));
        all.insert("digest".to_owned(), json!(self.digest));
        all.insert("seed".to_owned(), json!(self.seed));
        all.insert("passed".to_owned(), json!(self.passed()));
        all.insert("cases".to_owned(), cases.collect());
        all.insert("rules".to_owned(), rules.collect());
        if let Some(strict) = &self.strict {
            all.insert("unused".to_owned(), json!(strict));
        }
        Value::Object(all)
    }
}

/// The name of a finding, and its text.
pub(crate) fn parts(finding: &Finding) -> (&'static str, &str) {
    match finding {
        Finding::Passed { tried } => ("passed", tried),
        Finding::Failed { how } => ("failed", how),
        Finding::NotTested { why } => ("not-tested", why),
        Finding::NotApplicable { why } => ("not-applicable", why),
        Finding::Blocked { by } => ("blocked", by),
    }
}

/// The milliseconds, with three decimal places.
#[expect(clippy::cast_precision_loss, reason = "a suite takes no thousand years")]
pub(crate) fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1_000.0
}
