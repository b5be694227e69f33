//! Replaces a running component when its file is saved, and builds a crate when a source is saved.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use pelton_wasm::LoadedPlugin;
use tokio::runtime::Handle;

use crate::args::build::BuildArgs;
use crate::args::common::ConfigArgs;
use crate::build;
use crate::run::prepare::Prepared;
use crate::run::versions::{Terms, Versions};

/// The polling interval. A file that is equal in two polls is completely written.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Sources, which are many, are polled once in this many intervals.
const SOURCES_EVERY: u32 = 5;

/// The fingerprint of files: it changes when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp {
    /// The latest time of a file.
    written: Option<SystemTime>,
    bytes: u64,
    files: u64,
}

impl Stamp {
    fn of_file(path: &Path) -> Self {
        let mut stamp = Self::default();
        stamp.add(path);
        stamp
    }

    /// The latest time of a crate's Rust files and manifests.
    fn of_crate(folder: &Path) -> Self {
        let mut stamp = Self::of_file(&folder.join("Cargo.toml"));
        let mut folders = vec![folder.join("src")];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                match path.is_dir() {
                    true => folders.push(path),
                    false => stamp.add(&path),
                }
            }
        }
        stamp
    }

    fn add(&mut self, path: &Path) {
        let Ok(metadata) = path.metadata() else { return };
        self.written = self.written.max(metadata.modified().ok());
        self.bytes += metadata.len();
        self.files += 1;
    }
}

/// A watched file or crate.
struct Watched {
    /// The fingerprint at the last reload.
    known: Stamp,
    /// The fingerprint at the last poll.
    seen: Stamp,
}

impl Watched {
    fn new(stamp: Stamp) -> Self {
        Self { known: stamp, seen: stamp }
    }

    /// Whether it was written since the last reload, and writing has finished.
    fn was_saved(&mut self, now: Stamp) -> bool {
        let is_quiet = std::mem::replace(&mut self.seen, now) == now;
        let was_saved = is_quiet && now != self.known && now.files > 0;
        if was_saved {
            self.known = now;
        }
        was_saved
    }
}

/// Watches the components and crates of the configuration forever. Prints results to stdout.
pub(super) async fn on_save(arguments: &ConfigArgs, prepared: &Prepared, versions: &Versions) {
    let plugins = &prepared.config.plugins;
    let crates = || plugins.values().filter_map(|plugin| plugin.crate_dir.clone());
    let mut components: BTreeMap<&str, Watched> = plugins
        .iter()
        .filter_map(|(name, plugin)| {
            Some((name.as_str(), Watched::new(Stamp::of_file(plugin.component.as_deref()?))))
        })
        .collect();
    let mut sources: BTreeMap<PathBuf, Watched> =
        crates().map(|folder| (folder.clone(), Watched::new(Stamp::of_crate(&folder)))).collect();
    let mut running = prepared.plugins.clone();
    for look in 1_u32.. {
        tokio::time::sleep(LOOK_EVERY).await;
        for (name, plugin) in plugins {
            let (Some(watched), Some(component)) = (components.get_mut(name.as_str()), &plugin.component)
            else {
                continue;
            };
            if watched.was_saved(Stamp::of_file(component)) {
                swap(arguments, prepared, versions, (name.as_str(), component), &mut running).await;
            }
        }
        if look % SOURCES_EVERY == 0 {
            let saved: Vec<_> = sources
                .iter_mut()
                .filter_map(|(folder, crate_)| crate_.was_saved(Stamp::of_crate(folder)).then_some(folder))
                .collect();
            if !saved.is_empty() {
                build(&arguments.config).await;
            }
        }
    }
}

async fn swap(
    arguments: &ConfigArgs,
    prepared: &Prepared,
    versions: &Versions,
    (name, component): (&str, &Path),
    running: &mut BTreeMap<String, LoadedPlugin>,
) {
    let began = Instant::now();
    match prepared.load_version(arguments, running, name, component, None).await {
        Ok(plugin) if running.get(name).is_some_and(|known| known.digest() == plugin.digest()) => {}
        Ok(plugin) => {
            let kept = versions.replace(&plugin, &Terms::default());
            say(&format!("swap    {name} runs {} after {} ms", plugin.digest(), began.elapsed().as_millis()));
            kept.iter().for_each(|kept| say(&format!("swap    {kept}")));
            running.insert(name.to_owned(), plugin);
        }
        Err(why) => say(&format!("swap    {name} goes on with the version that it has: {why:#}")),
    }
}

/// Builds every plugin that has a crate. Cargo finds what changed.
async fn build(config: &Path) {
    say("build   a source was saved");
    let arguments = BuildArgs::of_configuration(config);
    let runtime = Handle::current();
    // Blocks this thread while cargo runs.
    let built = tokio::task::spawn_blocking(move || runtime.block_on(build::run(&arguments))).await;
    match built {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => say(&format!("build   {}build   what runs goes on", failure.render(false))),
        Err(error) => say(&format!("build   broke: {error}")),
    }
}

/// Prints to stdout. A closed stdout does not stop the host.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_was_saved_once_it_is_no_longer_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin.wasm");
        std::fs::write(&file, "1").unwrap();
        let mut watched = Watched::new(Stamp::of_file(&file));
        let mut look = || watched.was_saved(Stamp::of_file(&file));
        assert!(!look());
        std::fs::write(&file, "12").unwrap();
        assert!(!look(), "it may be written still");
        std::fs::write(&file, "123").unwrap();
        assert!(!look());
        assert!(look() && !look(), "once");
        std::fs::remove_file(&file).unwrap();
        assert!(!look() && !look(), "there is nothing to take up");
    }
}
