//! The report for a terminal: the first mistake in the first line, then cases that failed, then rules.

use std::fmt::Write;
use std::time::Duration;

use super::{CaseResult, Report, RuleResult};
use crate::rule::{Finding, Level};

/// How many of the slowest rules are named.
const SLOWEST: usize = 3;

impl Report {
    /// The report for a terminal.
    #[must_use]
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        if let Some(first) = self.first_mistake() {
            let _ = writeln!(text, "{first}");
        }
        for case in self.cases.iter().filter(|case| !case.passed()) {
            let _ = writeln!(text, "case {:?} FAIL ({})", case.name, case.file.display());
            case.differences.iter().for_each(|difference| {
                let _ = writeln!(text, "  {difference}");
            });
        }
        for unused in self.strict.iter().flatten() {
            let _ = writeln!(text, "strict FAIL: {unused}");
        }
        let passed = self.cases.iter().filter(|case| case.passed()).count();
        let _ = writeln!(text, "{passed} of {} cases as expected", self.cases.len());
        for result in &self.rules {
            line(&mut text, result);
        }
        self.summary(&mut text);
        text
    }

    /// The first mistake, in one line: of a required rule, else of a case, else something unused.
    #[must_use]
    pub fn first_mistake(&self) -> Option<String> {
        let of_rule = |level| self.failed().find(|result| result.rule.level == level);
        if let Some(RuleResult { rule, finding: Finding::Failed { how }, .. }) = of_rule(Level::Required) {
            return Some(format!("FAIL {} {}: {how}", rule.id, rule.name));
        }
        if let Some(case) = self.cases.iter().find(|case| !case.passed()) {
            let what = case.differences.first().map_or("", String::as_str);
            return Some(format!("FAIL case {:?}: {what}", case.name));
        }
        self.strict.iter().flatten().next().map(|unused| format!("FAIL strict: {unused}"))
    }

    fn summary(&self, text: &mut String) {
        let count = |is: fn(&Finding) -> bool| self.rules.iter().filter(|result| is(&result.finding)).count();
        let ok = count(|finding| matches!(finding, Finding::Passed { .. }));
        let failed = count(|finding| matches!(finding, Finding::Failed { .. }));
        let not = count(|finding| matches!(finding, Finding::NotTested { .. } | Finding::Blocked { .. }));
        let _ = writeln!(
            text,
            "{ok} rules ok, {failed} failed, {not} not tested, {:.1} s; worst call {} of {} ({})",
            self.took.as_secs_f64(),
            short(self.usage.longest),
            short(self.call_time),
            self.usage.function,
        );
        let mut slowest: Vec<&RuleResult> = self.rules.iter().collect();
        slowest.sort_by_key(|result| std::cmp::Reverse(result.took));
        let slowest: Vec<String> = slowest
            .iter()
            .take(SLOWEST)
            .map(|RuleResult { rule, took, .. }| format!("{} {} {}", rule.id, rule.name, short(*took)))
            .collect();
        if slowest.len() > 1 {
            let _ = writeln!(text, "slowest: {}", slowest.join(", "));
        }
        if let Some(RuleResult { rule, .. }) = self.failed().next() {
            let _ = writeln!(text, "again: --seed {} --rule {}", self.seed, rule.id);
        }
    }
}

fn line(text: &mut String, RuleResult { rule, finding, .. }: &RuleResult) {
    let (mark, what) = match finding {
        Finding::Passed { tried } => ("ok  ", tried.clone()),
        Finding::Failed { how } if rule.level == Level::Required => ("FAIL", how.clone()),
        Finding::Failed { how } => ("warn", how.clone()),
        Finding::NotTested { why } => ("-   ", format!("not tested: {why}")),
        Finding::Blocked { by } => ("-   ", format!("not tested: {by} is broken")),
        // The plugin lacks the role or the ability: there is nothing to say.
        Finding::NotApplicable { .. } => return,
    };
    let _ = writeln!(text, "{} {:<18} {mark} {what}", rule.id, rule.name);
    if matches!(finding, Finding::Failed { .. }) {
        let _ = writeln!(text, "  why it matters: {}\n  what to do: {}", rule.why, rule.mend);
    }
}

/// The duration as text, such as `41 µs`, `2.3 ms` or `1.5 s`.
fn short(duration: Duration) -> String {
    match duration.as_micros() {
        us if us < 1_000 => format!("{us} µs"),
        us if us < 1_000_000 && us % 1_000 == 0 => format!("{} ms", us / 1_000),
        us if us < 1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        us => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

impl CaseResult {
    /// Whether the case went as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}
