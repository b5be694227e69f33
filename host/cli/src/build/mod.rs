//! `pelton build`: from the crates of a configuration to components in their places: find the crates, get a compiler for
//! WebAssembly, have cargo build them, wrap each module.

mod crates;
mod toolchain;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, bail};

use crate::args::build::BuildArgs;
use crate::config;
use crate::exit::Failure;
use crate::terminal::one_line;
use crates::PluginCrate;
use toolchain::{TARGET, Toolchain};

/// A crate and the path of its component.
struct Work {
    plugin: PluginCrate,
    component: PathBuf,
}

/// Builds all requested crates. Reports missing ones before it compiles anything.
pub(crate) async fn run(arguments: &BuildArgs) -> Result<(), Failure> {
    let work = match &arguments.out {
        Some(out) => explicit(&arguments.crates, out).map_err(Failure::Unusable)?,
        None => {
            let mut work = Vec::new();
            for file in &arguments.config {
                work.extend(configured(file)?);
            }
            work
        }
    };
    build(arguments, &work).await.map_err(Failure::Run)
}

fn explicit(crates: &[PathBuf], out: &Path) -> anyhow::Result<Vec<Work>> {
    let work = crates.iter().map(|folder| {
        let plugin = PluginCrate::find(folder)?;
        let component = out.join(format!("{}.wasm", plugin.package));
        Ok(Work { plugin, component })
    });
    work.collect()
}

/// The crates that a configuration names. Skips plugins without one.
fn configured(file: &Path) -> Result<Vec<Work>, Failure> {
    let mut loaded = config::load(file).map_err(|error| Failure::Unusable(error.into()))?;
    let Some(config) = loaded.config.take() else {
        return Err(Failure::Configuration(Box::new(loaded.into_report(Vec::new()))));
    };
    let mut work: Vec<Work> = Vec::new();
    for (name, plugin) in &config.plugins {
        let (Some(folder), Some(component)) = (&plugin.crate_dir, &plugin.component) else { continue };
        // Two plugins may use one component with different limits.
        if work.iter().any(|work| work.component == *component) {
            continue;
        }
        let found = PluginCrate::find(folder).with_context(|| format!("the plugin `{name}`"));
        let plugin_crate = found.map_err(Failure::Unusable)?;
        work.push(Work { plugin: plugin_crate, component: component.clone() });
    }
    if work.is_empty() {
        let what = anyhow!(
            "no plugin in {} names its crate; add crate = \"path/to/crate\" and the component to each plugin that `pelton build` should build",
            file.display()
        );
        return Err(Failure::Unusable(what));
    }
    Ok(work)
}

async fn build(arguments: &BuildArgs, work: &[Work]) -> anyhow::Result<()> {
    // Crates of one workspace are built together, because they share dependencies.
    let mut workspaces: BTreeMap<&Path, Vec<&Work>> = BTreeMap::new();
    for work in work {
        workspaces.entry(&work.plugin.workspace).or_default().push(work);
    }
    for (workspace, work) in workspaces {
        let toolchain = Toolchain::find(workspace).await?;
        let target_dir = work[0].plugin.target_dir.join("wasm");
        compile(arguments, &toolchain, workspace, &target_dir, &work)?;
        for work in work {
            let modules = target_dir.join(TARGET).join(folder_of(arguments.profile()));
            place(&modules.join(&work.plugin.module), &work.component)?;
        }
    }
    Ok(())
}

/// Cargo's output folder for a profile.
fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

fn compile(
    arguments: &BuildArgs,
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    work: &[&Work],
) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    // In the folder of the workspace, so that its rust-toolchain.toml and .cargo/config.toml hold.
    cargo.current_dir(workspace).args(["build", "--lib", "--target", TARGET]);
    cargo.args(["--profile", arguments.profile()]).arg("--target-dir").arg(target_dir);
    for work in work {
        cargo.args(["-p", &work.plugin.package]);
    }
    toolchain.use_in(&mut cargo);
    cargo.args(&arguments.cargo);
    let status = cargo.status().context("cargo cannot be started; install Rust with rustup")?;
    if !status.success() {
        let packages: Vec<_> = work.iter().map(|work| work.plugin.package.as_str()).collect();
        bail!("cargo could not build {}: its message is above", packages.join(", "));
    }
    Ok(())
}

/// Wraps the module and puts the component into its place, whole or not at all. An unchanged component keeps its
/// modification time, so that a watcher of the folder sees only changes.
fn place(module: &Path, component: &Path) -> anyhow::Result<()> {
    let shown = component.display();
    let bytes = crate::componentize::wrap(module)?;
    if fs::read(component).is_ok_and(|present| present == bytes) {
        eprintln!("{} is unchanged", one_line(&shown.to_string()));
        return Ok(());
    }
    if let Some(folder) = component.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    crate::componentize::write(component, &bytes)?;
    eprintln!("{} has {} bytes", one_line(&shown.to_string()), bytes.len());
    Ok(())
}
