//! A verdict: the result of a suite, kept beside the component, so that a host need not test the component again.
//!
//! It holds for its basis: the component with its settings, the rules, the host's version, the cases, the limits, and
//! how much was tried. If one of them has changed, the verdict is stale.

use std::path::{Path, PathBuf};

use pelton_core::message::Fingerprint;
use pelton_wasm::{Activation, LoadedPlugin};
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::rule::{self, Finding};
use crate::run::Suite;

/// What a verdict depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Basis {
    /// The digest of the component, with that of its settings if it has any.
    pub component: String,
    /// A fingerprint of the rules.
    pub rules: String,
    /// The version of the host.
    pub host: String,
    /// A fingerprint of the files of cases.
    pub cases: String,
    /// A fingerprint of the limits, and of what the component may import.
    pub limits: String,
    /// A fingerprint of how much was tried, and of whether the suite was strict.
    pub effort: String,
}

/// The result of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// What the verdict depends on.
    pub basis: Basis,
    /// Whether the suite passed.
    pub passed: bool,
    /// The seed.
    pub seed: u64,
    /// The first mistake, in one line.
    pub mistake: Option<String>,
    /// The ids of the rules that had nothing to test.
    pub not_tested: Vec<String>,
}

/// What to do about rules that had nothing to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTested {
    /// Run the plugin, and warn.
    Warn,
    /// Do not run the plugin.
    Refuse,
}

/// Why a verdict does not allow a plugin to run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no verdict.
    #[error("there is no verdict of it; test it first")]
    Missing,
    /// The text is not a verdict.
    #[error("its verdict cannot be read: {0}")]
    Unreadable(String),
    /// The verdict has another basis.
    #[error("its verdict is of another {}; test it again", .0.join(", "))]
    Stale(Vec<&'static str>),
    /// The suite failed.
    #[error("it failed: {0}")]
    Failed(String),
    /// Rules had nothing to test.
    #[error("not tested: {}; add cases", .0.join(", "))]
    NotTested(Vec<String>),
}

impl Suite<'_> {
    /// The basis of a verdict on this plugin, which was loaded from the suite's component.
    #[must_use]
    pub fn basis(&self, plugin: &LoadedPlugin) -> Basis {
        self.basis_of(plugin.digest())
    }

    pub(crate) fn basis_of(&self, digest: &str) -> Basis {
        // The order and the place of files do not matter.
        let mut cases: Vec<String> = self.files.iter().map(|file| file.text.clone()).collect();
        cases.sort();
        Basis {
            component: digest.to_owned(),
            rules: rules(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            cases: fingerprint(&cases),
            limits: limits(&self.activation),
            effort: fingerprint(&[format!("{:?} {}", self.effort, self.strict)]),
        }
    }
}

fn fingerprint(parts: &[String]) -> String {
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    Fingerprint::of(&parts).0.to_string()
}

fn rules() -> String {
    let one = |rule: &&rule::Rule| format!("{} {:?} {}", rule.id, rule.level, rule.asserts);
    fingerprint(&rule::all().iter().map(one).collect::<Vec<_>>())
}

fn limits(Activation { limits, tier, .. }: &Activation) -> String {
    fingerprint(&[format!("{limits:?} {tier:?}")])
}

impl Verdict {
    /// The verdict of a suite that has run with all its rules.
    #[must_use]
    pub fn of(suite: &Suite<'_>, report: &Report) -> Self {
        let not_tested =
            report.rules.iter().filter(|result| matches!(result.finding, Finding::NotTested { .. }));
        Self {
            basis: suite.basis_of(&report.digest),
            passed: report.passed(),
            seed: report.seed,
            mistake: report.first_mistake(),
            not_tested: not_tested.map(|result| result.rule.id.to_owned()).collect(),
        }
    }

    /// Where the verdict of a component is kept: `booking.verdict.json` beside `booking.wasm`.
    #[must_use]
    pub fn place(component: &Path) -> PathBuf {
        component.with_extension("verdict.json")
    }

    /// The text of its file.
    #[must_use]
    pub fn written(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// The text is not a verdict.
    pub fn read(text: &str) -> Result<Self, Refused> {
        serde_json::from_str(text).map_err(|error| Refused::Unreadable(error.to_string()))
    }

    /// Whether a loaded plugin may run. The verdict's own cases and effort are accepted.
    ///
    /// # Errors
    ///
    /// The reason why it may not run.
    pub fn allows_running(
        &self,
        plugin: &LoadedPlugin,
        activation: &Activation,
        not_tested: NotTested,
    ) -> Result<(), Refused> {
        let basis = Basis {
            component: plugin.digest().to_owned(),
            rules: rules(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            limits: limits(activation),
            ..self.basis.clone()
        };
        self.allows(&basis, not_tested)
    }

    /// Whether a plugin with this basis may run.
    ///
    /// # Errors
    ///
    /// The reason why it may not run.
    pub fn allows(&self, basis: &Basis, not_tested: NotTested) -> Result<(), Refused> {
        let Basis { component, rules, host, cases, limits, effort } = &self.basis;
        let parts = [
            ("component", component == &basis.component),
            ("set of rules", rules == &basis.rules),
            ("version of the host", host == &basis.host),
            ("set of cases", cases == &basis.cases),
            ("set of limits", limits == &basis.limits),
            ("effort", effort == &basis.effort),
        ];
        let stale: Vec<_> = parts.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
        if !stale.is_empty() {
            return Err(Refused::Stale(stale));
        }
        if !self.passed {
            return Err(Refused::Failed(self.mistake.clone().unwrap_or_default()));
        }
        match not_tested {
            NotTested::Refuse if !self.not_tested.is_empty() => {
                Err(Refused::NotTested(self.not_tested.clone()))
            }
            NotTested::Refuse | NotTested::Warn => Ok(()),
        }
    }
}
