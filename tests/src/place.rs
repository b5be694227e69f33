//! The places of things that were built before.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The environment variable with the path of the `pelton` binary.
pub const PELTON: &str = "PELTON_BIN";
/// The environment variable with the path of the examples' components.
pub const PLUGINS: &str = "PELTON_PLUGINS";
/// The environment variable with the path of nats-server.
pub const NATS_SERVER: &str = "PELTON_NATS_SERVER";

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The `pelton` binary: the one that the environment names, otherwise the one beside this program, where cargo puts it.
pub fn pelton() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(PELTON).map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            bail!("{PELTON} is {}: there is no such file", named.display())
        };
    }
    let own = std::env::current_exe().context("this program does not know where it is")?;
    // A test program lies one directory below.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("pelton"));
    let found = beside.clone().find(|file| file.is_file());
    found.with_context(|| {
        let looked: Vec<_> = beside.map(|file| file.display().to_string()).collect();
        format!(
            "pelton is not built: it is not at {}; run `make build plugins`, or set {PELTON}",
            looked.join(" or ")
        )
    })
}

/// The directory with the components of the examples.
pub fn plugins() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os(PLUGINS).map_or_else(|| root().join("target/plugins"), PathBuf::from);
    let is_component = |file: PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    if files.map(|file| file.path()).any(is_component) {
        return Ok(folder);
    }
    bail!("no components in {}: run `make build plugins`, or set {PLUGINS}", folder.display())
}

/// The nats-server that the environment names, otherwise the one of `make tools`. `None` if there is neither: then PATH
/// has it.
#[must_use]
pub fn nats_server() -> Option<PathBuf> {
    let ours = root().join("target/tools/nats-server");
    std::env::var_os(NATS_SERVER).map(PathBuf::from).or_else(|| ours.is_file().then_some(ours))
}
