//! From a file's name to what can be run: the configuration is read, its components are loaded, and everything that is
//! wrong with either is reported in one go.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, bail};
use pelton_wasm::{LoadError, LoadedPlugin, PluginSettings, Plugins, Refusal, Settings, Source};
use tokio_util::sync::CancellationToken;

use super::versions::Terms;
use crate::args::common::ConfigArgs;
use crate::compile;
use crate::config::typed::Typed;
use crate::config::{self, Config, PluginSource, Report};
use crate::descriptors::{self, Inspected, Inspections, Unusable};
use crate::exit::Failure;

/// A valid configuration with its loaded components.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The checked values.
    pub(crate) config: Config,
    /// The components by plugin name.
    pub(crate) plugins: BTreeMap<String, LoadedPlugin>,
    /// The terms of versions from the plugin store, by plugin name.
    pub(crate) terms: BTreeMap<String, Terms>,
    /// Warnings.
    pub(crate) warnings: Report,
    /// Loads components.
    pub(crate) sandbox: Plugins,
}

impl Prepared {
    /// Logs the warnings.
    pub(crate) fn warn(&self) {
        if !self.warnings.is_empty() {
            tracing::warn!("{}", self.warnings.render(false).trim_end());
        }
    }
}

/// How plugins from the plugin store are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromStore {
    /// From their files, if they name one.
    AsFiles,
    /// From the store, once there is a connection.
    Later,
}

/// Reads and loads. `compiled_code` is where compiled code is kept, unless the configuration says.
pub(crate) async fn prepare(
    arguments: &ConfigArgs,
    compiled_code: Option<PathBuf>,
    from_store: FromStore,
) -> Result<Prepared, Failure> {
    let mut loaded = config::load(&arguments.config).map_err(|error| Failure::Unusable(error.into()))?;
    let (Some(typed), config) = (loaded.typed.take(), loaded.config.take()) else {
        return Err(Failure::Configuration(Box::new(loaded.into_report(Vec::new()))));
    };
    let wasm = config.as_ref().map(|config| &config.wasm);
    let configured = wasm.and_then(|wasm| wasm.compiled_code.clone());
    let memory_bytes = wasm.map_or(Settings::default().memory_bytes, |wasm| wasm.memory_bytes);
    let sandbox = Plugins::new(&Settings {
        cache_dir: configured.or(compiled_code),
        memory_bytes,
        compiler: compile::program(),
    });
    let sandbox = sandbox.context("the sandbox cannot be set up").map_err(Failure::Run)?;
    let results = load(&sandbox, &typed, from_store).await;
    let problems = descriptors::compare(&typed, &inspections(&results));
    let report = loaded.into_report(problems);
    match config {
        Some(config) if !report.has_errors() => {
            let plugins =
                results.into_iter().filter_map(|(name, plugin)| Some((name, plugin.ok()?))).collect();
            Ok(Prepared { config, plugins, terms: BTreeMap::new(), warnings: report, sandbox })
        }
        _ => Err(Failure::Configuration(Box::new(report))),
    }
}

/// Prepares and logs warnings. `None` if it was stopped meanwhile.
pub(crate) async fn prepare_until(
    arguments: &ConfigArgs,
    compiled_code: Option<PathBuf>,
    from_store: FromStore,
    stop: &CancellationToken,
) -> Result<Option<Prepared>, Failure> {
    let prepared = tokio::select! {
        prepared = prepare(arguments, compiled_code, from_store) => prepared?,
        () = stop.cancelled() => return Ok(None),
    };
    prepared.warn();
    Ok(Some(prepared))
}

impl Prepared {
    /// Loads another version of one plugin. Fails if it does not fit the present configuration and the other running plugins.
    /// Without `settings`, it gets those of the configuration.
    pub(crate) async fn load_version(
        &self,
        arguments: &ConfigArgs,
        running: &BTreeMap<String, LoadedPlugin>,
        name: &str,
        component: impl Into<Source>,
        settings: Option<PluginSettings>,
    ) -> anyhow::Result<LoadedPlugin> {
        let plugin = self.config.plugins.iter().find(|(known, _)| known.as_str() == name);
        let (_, plugin) = plugin.with_context(|| format!("the configuration has no plugin {name}"))?;
        let mut with = plugin.activation();
        if let Some(settings) = settings {
            with.settings = settings;
        }
        let loaded = self.sandbox.load(name, component, with).await?;
        fits(arguments, running, &loaded)?;
        Ok(loaded)
    }
}

/// The error says what does not fit together once a plugin is this one, in the configuration as it is now.
pub(crate) fn fits(
    arguments: &ConfigArgs,
    running: &BTreeMap<String, LoadedPlugin>,
    version: &LoadedPlugin,
) -> anyhow::Result<()> {
    let mut read = config::load(&arguments.config)?;
    let Some(typed) = read.typed.take() else { bail!(read.into_report(Vec::new()).render(false)) };
    let others = running.iter().filter(|(other, _)| *other != version.name());
    let mut inspections: Inspections =
        others.map(|(name, plugin)| (name.clone(), Ok(Inspected::of(plugin)))).collect();
    inspections.insert(version.name().to_owned(), Ok(Inspected::of(version)));
    let report = read.into_report(descriptors::compare(&typed, &inspections));
    if report.has_errors() {
        bail!(report.render(false));
    }
    Ok(())
}

/// One after the other, because compiling uses all processors.
async fn load(
    sandbox: &Plugins,
    typed: &Typed,
    from_store: FromStore,
) -> BTreeMap<String, Result<LoadedPlugin, LoadError>> {
    let mut results = BTreeMap::new();
    for plugin in &typed.plugins {
        let Some(component) = &plugin.component else { continue };
        if plugin.source == PluginSource::Store && from_store == FromStore::Later {
            continue;
        }
        let name = plugin.name.value.to_string();
        tracing::debug!(plugin = name, component = %component.value.display(), "loading");
        let loaded = sandbox.load(&name, component.value.as_path(), plugin.activation()).await;
        results.insert(name, loaded);
    }
    results
}

fn inspections(results: &BTreeMap<String, Result<LoadedPlugin, LoadError>>) -> Inspections {
    let inspect = |result: &Result<LoadedPlugin, LoadError>| match result {
        Ok(plugin) => Ok(Inspected::of(plugin)),
        Err(error) => Err(Unusable {
            cause: error.refusal.to_string(),
            is_missing: matches!(
                &error.refusal,
                Refusal::Unreadable { cause, .. } if cause.kind() == ErrorKind::NotFound
            ),
        }),
    };
    results.iter().map(|(name, result)| (name.clone(), inspect(result))).collect()
}
