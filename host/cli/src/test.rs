//! `pelton test`: the suite that a plugin must pass, without a server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use pelton_kit::{CaseFile, Effort, Rule, Suite, Untestable, rule};
use pelton_wasm::{Activation, Plugins, Settings};

use crate::args::test::TestArgs;
use crate::exit::Failure;

/// The longest seed that is chosen: short enough to be typed.
const MAX_SEED: u64 = 99_999;

/// Tests a component, and prints what came of it.
pub(crate) async fn run(arguments: &TestArgs) -> Result<(), Failure> {
    if arguments.list_rules {
        print(&list());
        return Ok(());
    }
    if let Some(unknown) = arguments.rules.iter().find(|id| rule::find(id).is_none()) {
        return Err(Failure::Usage(format!(
            "there is no rule {unknown:?}; `pelton test --list-rules` lists them"
        )));
    }
    let component = arguments.component.as_deref().unwrap_or(Path::new(""));
    let bytes = tokio::fs::read(component).await;
    let bytes = bytes.with_context(|| component.display().to_string()).map_err(Failure::Unusable)?;
    let mut files = Vec::new();
    for path in files_of(&arguments.cases).map_err(Failure::Unusable)? {
        files.push(CaseFile::read(&path).map_err(|error| Failure::Unusable(error.into()))?);
    }
    let sandbox = Plugins::new(&Settings::default());
    let sandbox = sandbox.context("the sandbox cannot be set up").map_err(Failure::Run)?;
    let suite = Suite {
        sandbox: &sandbox,
        component: bytes,
        name: component.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        activation: Activation { tier: arguments.tier, ..Activation::default() },
        files,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(1..=MAX_SEED)),
        effort: Effort::default(),
        strict: arguments.strict,
        fail_fast: arguments.fail_fast,
    };
    let report = suite.run(&arguments.rules).await.map_err(|untestable| match untestable {
        Untestable::Plugin(error) => Failure::Unusable(anyhow!("{}: {error}", component.display())),
        cases @ Untestable::Cases(_) => Failure::Unusable(cases.into()),
    })?;
    match arguments.json {
        true => print(&format!("{:#}\n", report.json())),
        false => print(&report.terminal()),
    }
    if report.passed() { Ok(()) } else { Err(Failure::Verdict) }
}

/// The files of cases: those that are named, and those in folders that are named.
fn files_of(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        if found.is_empty() {
            return Err(anyhow!("{} has no cases: no file in it ends in .toml", path.display()));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Every rule, for people.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for Rule { id, name, asserts, why, mend, .. } in rule::all() {
        let _ = writeln!(text, "{id} {name}\n  {asserts}\n  why it matters: {why}\n  what to do: {mend}");
    }
    text
}

/// Where nobody reads it any more, nothing is missed.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
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
        for Rule { id, name, asserts, why, mend, .. } in rule::all() {
            let _ = writeln!(rules, "| {id} `{name}` | {asserts} | {why} | {mend} |");
        }
        let right = format!("{written}{rules}");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&page, &right).unwrap();
        } else {
            assert_eq!(text, right, "BLESS=1 writes it");
        }
    }
}
