//! `pelton test`: the suite that a plugin must pass, without a server.

mod progress;
mod replay;
mod subject;
mod watch;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use pelton_kit::{CaseFile, Form, NotTested, Refused, Report, Rule, Suite, Verdict, rule};

use crate::args::test::{CanIActivateArgs, NotTestedArg, ReportForm, TestArgs};
use crate::exit::Failure;
use progress::Progress;
use subject::Subject;

/// The upper bound of a chosen seed, short enough to type.
const MAX_SEED: u64 = 99_999;

/// Tests a component and prints the report.
pub(crate) async fn run(arguments: &TestArgs) -> Result<(), Failure> {
    if arguments.list_rules {
        print(&list());
        return Ok(());
    }
    if arguments.schema {
        print(&format!("{:#}\n", pelton_kit::case::schema()));
        return Ok(());
    }
    if let Some(unknown) = arguments.rules.iter().find(|id| rule::find(id).is_none()) {
        return Err(Failure::Usage(format!(
            "there is no rule {unknown:?}; `pelton test --list-rules` lists them"
        )));
    }
    if arguments.watch {
        return watch::run(arguments).await;
    }
    once(arguments).await
}

/// Tests once.
async fn once(arguments: &TestArgs) -> Result<(), Failure> {
    let subject = Subject::read(&arguments.subject).await?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(1..=MAX_SEED));
    let recordings = replay::read(&arguments.replay)?;
    let suite = Suite { fail_fast: arguments.fail_fast, recordings: &recordings, ..subject.suite(seed) };
    let mut progress = Progress::on_stderr();
    let report = suite.run_telling(&arguments.rules, |rule, nth| progress.shows(rule, nth)).await;
    progress.clear();
    let report = report.map_err(|error| subject.untestable(error))?;
    match arguments.json {
        true => print(&report.written(Form::Json)),
        false => print(&report.terminal()),
    }
    for (form, file) in &arguments.reports {
        let written = std::fs::write(file, report.written(form.into()));
        written.with_context(|| format!("cannot write {}", file.display())).map_err(Failure::Run)?;
    }
    if arguments.rules.is_empty() && !arguments.fail_fast {
        keep(&suite, &report, &subject.component);
    }
    if arguments.update {
        return update(&suite.files, &report);
    }
    let replayed = replay::run(arguments, &suite, &subject, &recordings).await?;
    if report.passed() && replayed { Ok(()) } else { Err(Failure::Verdict) }
}

/// Stores the verdict beside the component. If that fails, `can-i-activate` finds none and asks for a test.
fn keep(suite: &Suite<'_>, report: &Report, component: &Path) {
    let place = Verdict::place(component);
    if let Err(error) = std::fs::write(&place, Verdict::of(suite, report).written()) {
        tracing::warn!("the verdict is not kept: {}: {error}", place.display());
    }
}

/// Writes the actual results into the case files.
fn update(files: &[CaseFile], report: &Report) -> Result<(), Failure> {
    let mut results = report.cases.as_slice();
    for file in files {
        let (own, rest) = results.split_at(file.cases.len().min(results.len()));
        results = rest;
        let text = pelton_kit::updated(file, own).map_err(|what| Failure::Unusable(anyhow::anyhow!(what)))?;
        if let Some(text) = text {
            let written = std::fs::write(&file.path, text);
            written.with_context(|| file.path.display().to_string()).map_err(Failure::Run)?;
            print(&format!("{} is updated; look at what has changed\n", file.path.display()));
        }
    }
    let rules_failed = report.failed().any(|result| result.rule.level == pelton_kit::Level::Required);
    if rules_failed { Err(Failure::Verdict) } else { Ok(()) }
}

/// Prints whether the stored verdict allows the component to run.
pub(crate) async fn can_i_activate(arguments: &CanIActivateArgs) -> Result<(), Failure> {
    let subject = Subject::read(&arguments.subject).await?;
    let suite = subject.suite(0);
    let plugin = suite.sandbox.load(&suite.name, suite.component.clone(), suite.activation.clone()).await;
    let plugin = plugin.map_err(|error| subject.untestable(error.into()))?;
    let not_tested = match arguments.not_tested {
        NotTestedArg::Warn => NotTested::Warn,
        NotTestedArg::Refuse => NotTested::Refuse,
    };
    let verdict = match std::fs::read_to_string(Verdict::place(&subject.component)) {
        Ok(text) => Verdict::read(&text),
        Err(_) => Err(Refused::Missing),
    };
    match verdict.and_then(|verdict| verdict.allows(&suite.basis(&plugin), not_tested)) {
        Ok(()) => {
            print(&format!("yes: {} has passed\n", plugin.digest()));
            Ok(())
        }
        Err(why) => {
            print(&format!("no: {}: {why}\n", subject.component.display()));
            Err(Failure::Verdict)
        }
    }
}

impl From<&ReportForm> for Form {
    fn from(form: &ReportForm) -> Self {
        match form {
            ReportForm::Json => Self::Json,
            ReportForm::Tap => Self::Tap,
            ReportForm::Junit => Self::Junit,
            ReportForm::Ctrf => Self::Ctrf,
            ReportForm::Markdown => Self::Markdown,
            ReportForm::Html => Self::Html,
        }
    }
}

/// Prints every rule, for people.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for Rule { id, name, level, asserts, why, mend, .. } in rule::all() {
        let level = level.as_str();
        let _ = writeln!(
            text,
            "{id} {name} ({level})\n  {asserts}\n  why it matters: {why}\n  what to do: {mend}"
        );
    }
    text
}

/// A closed stdout is not an error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is made of the same text: `BLESS=1` writes it.
    #[test]
    fn the_reference_page_lists_every_rule() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/testing.md");
        let text = std::fs::read_to_string(&page).unwrap();
        let written = text.split("| rule |").next().unwrap();
        let mut rules = String::from(
            "| rule | what is held | why it matters | what to do where it is broken |\n|---|---|---|---|\n",
        );
        for Rule { id, name, level, asserts, why, mend, .. } in rule::all() {
            let level = if *level == pelton_kit::Level::Required { "" } else { " (recommended)" };
            let _ = writeln!(rules, "| {id} `{name}`{level} | {asserts} | {why} | {mend} |");
        }
        let right = format!("{written}{rules}");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&page, &right).unwrap();
        } else {
            assert_eq!(text, right, "BLESS=1 writes it");
        }
    }
}
