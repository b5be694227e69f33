//! A crate that becomes a plugin, as cargo describes it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// A crate with a `cdylib`.
#[derive(Debug)]
pub(super) struct PluginCrate {
    /// The name of the package.
    pub(super) package: String,
    /// The name of the file that the compiler writes.
    pub(super) module: String,
    /// The root of its workspace.
    pub(super) workspace: PathBuf,
    /// Where cargo puts what it builds.
    pub(super) target_dir: PathBuf,
}

impl PluginCrate {
    /// Asks cargo about the crate in this folder.
    pub(super) fn find(folder: &Path) -> anyhow::Result<Self> {
        let manifest = folder.join("Cargo.toml");
        let manifest = manifest.canonicalize().with_context(|| {
            format!("{} has no Cargo.toml; `crate` names the folder of a crate", folder.display())
        })?;
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.context("cargo cannot be started; install Rust with rustup")?;
        if !output.status.success() {
            bail!("cargo cannot read {}: its message is above", manifest.display());
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo's metadata is not JSON")?;
        Self::of(&metadata, &manifest)
    }

    fn of(metadata: &Value, manifest: &Path) -> anyhow::Result<Self> {
        let path = |name: &str| metadata[name].as_str().map(PathBuf::from);
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let package = packages
            .iter()
            .find(|package| package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest))
            .with_context(|| format!("{} is a workspace and no crate", manifest.display()))?;
        let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_cdylib = |target: &&Value| {
            target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        };
        let library = targets.iter().find(is_cdylib).with_context(|| {
            format!("{} builds no cdylib; add [lib] crate-type = [\"cdylib\", \"rlib\"]", manifest.display())
        })?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo's metadata lacks a name");
        Ok(Self {
            package: text(&package["name"])?,
            module: format!("{}.wasm", text(&library["name"])?.replace('-', "_")),
            workspace: path("workspace_root").context("cargo's metadata has no workspace_root")?,
            target_dir: path("target_directory").context("cargo's metadata has no target_directory")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(crate_type: &str) -> Value {
        json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [{
                "name": "a-tasks", "manifest_path": "/w/a/Cargo.toml",
                "targets": [{ "name": "a-tasks", "crate_types": [crate_type] }],
            }],
        })
    }

    #[test]
    fn a_crate_is_known_by_its_manifest_and_its_cdylib() {
        let found = PluginCrate::of(&metadata("cdylib"), Path::new("/w/a/Cargo.toml")).expect("a plugin");
        assert_eq!((found.package.as_str(), found.module.as_str()), ("a-tasks", "a_tasks.wasm"));
        for (metadata, manifest, part) in [
            (metadata("rlib"), "/w/a/Cargo.toml", "crate-type = [\"cdylib\""),
            (metadata("cdylib"), "/w/Cargo.toml", "is a workspace and no crate"),
        ] {
            let error = PluginCrate::of(&metadata, Path::new(manifest)).expect_err("no plugin").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
