//! A suite: a component, its cases, and a seed.

use std::time::Instant;

use fastrand::Rng;
use pelton_core::projection::ports::ProjectionPlugin;
use pelton_core::saga::ports::SagaPlugin;
use pelton_wasm::{Activation, Limits, LoadError, LoadedPlugin, Plugins};

use crate::case::CaseFile;
use crate::corpus::{Corpus, Given, decisions, reactions, streams};
use crate::guest::{Handler, Projection, Saga};
use crate::meter::Meter;
use crate::recording::Recording;
use crate::report::{Report, RuleResult};
use crate::rule::{self, Finding, Level, Rule};
use crate::{cases, strict};

/// A component with its cases.
#[derive(Debug)]
pub struct Suite<'a> {
    /// The sandbox.
    pub sandbox: &'a Plugins,
    /// The bytes of the component.
    pub component: Vec<u8>,
    /// The component's name in reports.
    pub name: String,
    /// The limits and settings that the component will run with.
    pub activation: Activation,
    /// The cases.
    pub files: Vec<CaseFile>,
    /// Recordings, which rules try, too.
    pub recordings: &'a [Recording],
    /// The seed of everything random.
    pub seed: u64,
    /// How much rules try.
    pub effort: Effort,
    /// Whether everything that the plugin declares must be used by a case, or be left out with a reason.
    pub strict: bool,
    /// Whether the suite stops at the first required rule that is broken.
    pub fail_fast: bool,
}

/// How much rules try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How many calls an instance serves before it is asked again.
    pub calls: u32,
    /// How many decisions of a handler, and how many reactions of a saga, rules look at.
    pub decisions: usize,
    /// How many histories of entities rules look at.
    pub histories: usize,
    /// How many hostile data of each type rules try, about.
    pub hostile: usize,
}

impl Effort {
    /// Enough for a quick look between two changes.
    pub const QUICK: Self = Self { calls: 1_200, decisions: 120, histories: 30, hostile: 200 };
}

impl Default for Effort {
    fn default() -> Self {
        Self { calls: 10_000, decisions: 600, histories: 100, hostile: 400 }
    }
}

/// Why nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum Untestable {
    /// The component is not a plugin.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// Cases cannot be run.
    #[error("{}", .0.join("\n"))]
    Cases(Vec<String>),
}

/// The plugin and the inputs that rules test.
pub(crate) struct Subject<'a> {
    pub(crate) suite: &'a Suite<'a>,
    /// The plugin with instances that serve many calls.
    pub(crate) plugin: &'a LoadedPlugin,
    /// The plugin with a fresh instance for each call of a projection or saga.
    pub(crate) fresh: &'a LoadedPlugin,
    pub(crate) meter: &'a Meter,
    pub(crate) corpus: Corpus,
}

impl<'a> Subject<'a> {
    pub(crate) fn random(&self) -> Rng {
        Rng::with_seed(self.suite.seed)
    }

    pub(crate) fn handler(&self) -> Option<Handler<'a>> {
        self.plugin.handler().map(|handler| Handler::new(handler, self.meter))
    }

    pub(crate) fn projection(&self) -> Option<Projection<'a>> {
        self.plugin.projection().map(|projection| Projection::new(projection, self.meter))
    }

    pub(crate) fn fresh_projection(&self) -> Option<Projection<'a>> {
        self.fresh.projection().map(|projection| Projection::new(projection, self.meter))
    }

    pub(crate) fn saga(&self) -> Option<Saga<'a>> {
        self.plugin.saga().map(|saga| Saga::new(saga, self.meter))
    }

    pub(crate) fn fresh_saga(&self) -> Option<Saga<'a>> {
        self.fresh.saga().map(|saga| Saga::new(saga, self.meter))
    }
}

/// The plugin with instances that serve one call each.
fn fresh(suite: &Suite<'_>, plugin: &LoadedPlugin) -> Result<LoadedPlugin, LoadError> {
    let mut activation = suite.activation.clone();
    activation.limits = Limits { retire_after_calls: 1, ..activation.limits };
    suite.sandbox.load_again(plugin, activation)
}

impl Suite<'_> {
    /// Tests these rules. If none is named, tests the cases and all rules.
    ///
    /// # Errors
    ///
    /// Nothing was tested: the component is not a plugin, or cases cannot be run.
    pub async fn run(&self, only: &[String]) -> Result<Report, Untestable> {
        self.run_telling(only, |_, _| {}).await
    }

    /// As [`Suite::run`], and calls `tell` before each rule, with the rule and its place among all rules, from 1.
    ///
    /// # Errors
    ///
    /// As for [`Suite::run`].
    pub async fn run_telling(
        &self,
        only: &[String],
        mut tell: impl FnMut(&'static Rule, usize),
    ) -> Result<Report, Untestable> {
        let start = Instant::now();
        let plugin = self.sandbox.load(&self.name, self.component.clone(), self.activation.clone()).await?;
        let fresh = fresh(self, &plugin)?;
        let meter = Meter::default();
        let mut report = Report::of(&plugin, self);
        let ran = cases::run(&self.files, &fresh, &meter);
        if !ran.wrong.is_empty() {
            return Err(Untestable::Cases(ran.wrong));
        }
        if only.is_empty() {
            report.cases = ran.results;
            if self.strict {
                report.strict = Some(strict::unused(&self.files, &plugin, &ran.used));
            }
        }
        let mut given = ran.given;
        self.recordings.iter().for_each(|recording| recording.add_to(&mut given));
        let corpus = self.corpus(&plugin, &fresh, &meter, &given);
        let subject = Subject { suite: self, plugin: &plugin, fresh: &fresh, meter: &meter, corpus };
        for (rule, nth) in rule::all().iter().copied().zip(1..) {
            if !only.is_empty() && !only.iter().any(|id| id == rule.id || id == rule.name) {
                continue;
            }
            if self.fail_fast && report.failed().any(|broken| broken.rule.level == Level::Required) {
                break;
            }
            tell(rule, nth);
            let start = Instant::now();
            let finding = match report.broken().find(|broken| rule.after.contains(broken)) {
                Some(by) => Finding::Blocked { by },
                None => (rule.test)(&subject),
            };
            report.rules.push(RuleResult { rule, finding, took: start.elapsed() });
        }
        report.usage = meter.so_far();
        report.took = start.elapsed();
        Ok(report)
    }

    fn corpus(&self, plugin: &LoadedPlugin, fresh: &LoadedPlugin, meter: &Meter, given: &Given) -> Corpus {
        let mut random = Rng::with_seed(self.seed);
        let mut corpus = Corpus::default();
        if let Some(handler) = plugin.handler() {
            let handler = Handler::new(handler, meter);
            corpus.templates = decisions::templates(&handler, plugin, given, &mut random);
            decisions::explore(&mut corpus, &handler, given, &self.effort, &mut random);
        }
        let mut reads = Vec::new();
        if let Some(projection) = plugin.projection() {
            reads.extend(projection.descriptor().events.iter().cloned());
        }
        if let Some(saga) = plugin.saga() {
            reads.extend(saga.descriptor().events.iter().cloned());
        }
        if plugin.projection().is_some() || plugin.saga().is_some() {
            let mut of_cases = given.streams.clone();
            // The plugin's view may show the events of its own handler.
            of_cases.extend(
                corpus.histories.iter().map(|history| history.events.clone()).filter(|e| !e.is_empty()),
            );
            corpus.streams = streams::streams(plugin, &reads, &of_cases, &mut random);
        }
        corpus.events = corpus.streams.iter().take(given.streams.len() + 2).flatten().cloned().collect();
        if let Some(saga) = fresh.saga() {
            reactions::explore(&mut corpus, &Saga::new(saga, meter), &self.effort);
        }
        corpus
    }
}
