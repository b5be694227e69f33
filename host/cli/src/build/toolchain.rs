//! A compiler for `wasm32-unknown-unknown`: rustup's target where it is or can be had, otherwise a compiler from Debian's
//! packages that builds std from source. Nothing is installed into the system, and no root is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command as AsyncCommand;

/// The compilation target of plugins.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";
/// Forces `rustup` or `debian` as the compiler.
const CHOICE: &str = "PELTON_WASM_TOOLCHAIN";
/// The folder of a fetched compiler.
const TOOLS: &str = "PELTON_TOOLS";
/// The longest time that rustup may take to fetch the target.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(120);
/// Unpacks Debian's compiler into the folder that is its first argument; see its head.
const DEBIAN: &str = include_str!("debian.sh");

/// A compiler that can build plugins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// The installed one has the target.
    Rustup,
    /// Debian's, unpacked in this folder.
    Debian(PathBuf),
}

impl Toolchain {
    /// The compiler for the crates of this workspace.
    pub(super) async fn find(workspace: &Path) -> anyhow::Result<Self> {
        let sysroot = sysroot(workspace)?;
        match std::env::var(CHOICE).unwrap_or_default().as_str() {
            "" if has_target(&sysroot) || ask_rustup(workspace, &sysroot).await? => Ok(Self::Rustup),
            "" | "debian" => debian(&sysroot),
            "rustup" if has_target(&sysroot) => Ok(Self::Rustup),
            "rustup" => bail!("rustup's target {TARGET} is not installed; run: rustup target add {TARGET}"),
            other => bail!("{CHOICE} is {other:?}; it can be \"rustup\" or \"debian\""),
        }
    }

    /// Makes cargo build with this compiler.
    pub(super) fn use_in(&self, cargo: &mut Command) {
        let Self::Debian(folder) = self else { return };
        let bin = folder.join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(bin.clone()).chain(std::env::split_paths(&path));
        if let Ok(all) = std::env::join_paths(all) {
            cargo.env("PATH", all);
        }
        // The compiler is a release that is told to allow what only a nightly does: building std.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", bin.join("rustc")).arg("-Zbuild-std=std,panic_abort");
    }
}

fn sysroot(workspace: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace).output();
    let output = output.context("rustc cannot be started; install Rust with rustup")?;
    let text = String::from_utf8(output.stdout).context("rustc's sysroot is not UTF-8")?;
    if !output.status.success() {
        bail!("rustc does not say its sysroot: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(text.trim()))
}

/// Whether the target's standard library is there. rustup can call the target up to date where it is not.
fn has_target(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

/// Asks rustup once, and remembers a refusal: a build must not ask the network every time.
async fn ask_rustup(workspace: &Path, sysroot: &Path) -> anyhow::Result<bool> {
    let refused = tools()?.join("rustup-target-refused");
    if refused.exists() {
        return Ok(false);
    }
    let mut rustup = AsyncCommand::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(workspace).kill_on_drop(true);
    rustup.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = rustup.spawn() else { return Ok(false) };
    eprintln!("asking rustup for the target {TARGET}");
    // Whether it worked shows in the library.
    let _ = tokio::time::timeout(RUSTUP_DEADLINE, child.wait()).await;
    if has_target(sysroot) {
        return Ok(true);
    }
    std::fs::write(&refused, "").with_context(|| format!("cannot write {}", refused.display()))?;
    Ok(false)
}

fn debian(sysroot: &Path) -> anyhow::Result<Toolchain> {
    let tools = tools()?;
    let mut bash = Command::new("bash");
    bash.args(["-c", DEBIAN, "pelton"]).arg(&tools).arg(sysroot).stdin(Stdio::null());
    let status = bash.status().context("bash, which gets Debian's compiler, cannot be started")?;
    if !status.success() {
        bail!("there is no compiler for {TARGET}: the reason is above");
    }
    Ok(Toolchain::Debian(tools.join("rust-wasm")))
}

/// The folder of fetched tools, made when it is needed: `PELTON_TOOLS`, else the user's cache.
fn tools() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable(TOOLS)
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("pelton")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/pelton")))
        .with_context(|| format!("there is no folder for tools: set {TOOLS}"))?;
    let folder = std::path::absolute(&folder).with_context(|| folder.display().to_string())?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
