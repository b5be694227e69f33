//! The subject of a test: a component, its cases, and its runtime options.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use pelton_kit::{CaseFile, Effort, MalformedCases, Suite, Untestable};
use pelton_wasm::{Activation, PluginSettings, Plugins, Settings};

use crate::args::test::SubjectArgs;
use crate::compile;
use crate::config;
use crate::exit::Failure;

/// A component with its cases.
pub(super) struct Subject {
    pub(super) component: PathBuf,
    bytes: Vec<u8>,
    files: Vec<CaseFile>,
    activation: Activation,
    strict: bool,
    effort: Effort,
    sandbox: Plugins,
}

impl Subject {
    pub(super) async fn read(arguments: &SubjectArgs) -> Result<Self, Failure> {
        let component = arguments.component.clone().unwrap_or_default();
        let bytes = tokio::fs::read(&component).await;
        let bytes = bytes.with_context(|| component.display().to_string()).map_err(Failure::Unusable)?;
        let files = cases(&files_of(&arguments.cases).map_err(Failure::Unusable)?)?;
        let mut settings = PluginSettings::default();
        for (name, value) in &arguments.settings {
            settings.set(name, value).map_err(|why| Failure::Usage(format!("--set: {why}")))?;
        }
        let (cache_dir, compiler) = (arguments.compiled_code.clone(), compile::program());
        let sandbox = Settings { cache_dir, compiler, ..Settings::default() };
        let sandbox = Plugins::new(&sandbox).context("the sandbox cannot be set up").map_err(Failure::Run)?;
        let activation = match &arguments.as_plugin {
            Some(name) => configured(&arguments.config.config, name)?,
            None => Activation { settings, tier: arguments.tier, ..Activation::default() },
        };
        let effort = if arguments.quick { Effort::QUICK } else { Effort::default() };
        Ok(Self { component, bytes, files, activation, strict: arguments.strict, effort, sandbox })
    }

    pub(super) fn suite(&self, seed: u64) -> Suite<'_> {
        let name = self.component.file_stem();
        Suite {
            sandbox: &self.sandbox,
            component: self.bytes.clone(),
            name: name.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            activation: self.activation.clone(),
            files: self.files.clone(),
            recordings: &[],
            seed,
            effort: self.effort,
            strict: self.strict,
            fail_fast: false,
        }
    }

    pub(super) fn untestable(&self, error: Untestable) -> Failure {
        match error {
            Untestable::Plugin(error) => Failure::Unusable(anyhow!("{}: {error}", self.component.display())),
            cases @ Untestable::Cases(_) => Failure::Unusable(cases.into()),
        }
    }
}

/// The options of a plugin of the configuration.
fn configured(config: &Path, name: &str) -> Result<Activation, Failure> {
    let mut loaded = config::load(config).map_err(|error| Failure::Unusable(error.into()))?;
    let Some(config) = loaded.config.take() else {
        return Err(Failure::Configuration(Box::new(loaded.into_report(Vec::new()))));
    };
    let plugin = config.plugins.iter().find(|(known, _)| known.as_str() == name);
    let (_, plugin) = plugin
        .with_context(|| format!("the configuration has no plugin {name}"))
        .map_err(Failure::Unusable)?;
    Ok(plugin.activation())
}

/// All case files, or the problems of all of them.
fn cases(paths: &[PathBuf]) -> Result<Vec<CaseFile>, Failure> {
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    for path in paths {
        match CaseFile::read(path) {
            Ok(file) => files.push(file),
            Err(error @ (MalformedCases::Unreadable { .. } | MalformedCases::Malformed { .. })) => {
                wrong.push(error.to_string());
            }
        }
    }
    match wrong.as_slice() {
        [] => Ok(files),
        wrong => Err(Failure::Unusable(anyhow!(wrong.join("\n")))),
    }
}

/// The case files: named files, and all case files in named folders.
pub(super) fn files_of(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let inside = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<PathBuf> = inside.filter(|path| CaseFile::is_named(path)).collect();
        if found.is_empty() {
            return Err(anyhow!(
                "{} has no cases: no file in it ends in .toml, .yaml or .yml",
                path.display()
            ));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}
