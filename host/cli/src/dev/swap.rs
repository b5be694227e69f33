//! A component that is saved takes the place of the one that runs; a crate that is saved is built.

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

/// The wait between two looks at the files. Two looks that see the same find a file that is written to its end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Every how many looks the sources are looked at, which are more.
const SOURCES_EVERY: u32 = 5;

/// What tells that files were written.
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

    /// Of the Rust files and manifests of a crate.
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

/// A file, or a crate, that is looked at.
struct Watched {
    /// As it was when it was last taken up.
    known: Stamp,
    /// As it was at the last look.
    seen: Stamp,
}

impl Watched {
    fn new(stamp: Stamp) -> Self {
        Self { known: stamp, seen: stamp }
    }

    /// Whether it was written, and is no longer being written.
    fn was_saved(&mut self, now: Stamp) -> bool {
        let is_quiet = std::mem::replace(&mut self.seen, now) == now;
        let was_saved = is_quiet && now != self.known && now.files > 0;
        if was_saved {
            self.known = now;
        }
        was_saved
    }
}

/// Looks at the components and crates of the configuration, forever. The outcome goes to stdout.
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

/// Builds every plugin that has a crate; what changed is found by cargo.
async fn build(config: &Path) {
    say("build   a source was saved");
    let arguments = BuildArgs::of_configuration(config);
    let runtime = Handle::current();
    // Cargo is waited for without a turn for others.
    let built = tokio::task::spawn_blocking(move || runtime.block_on(build::run(&arguments))).await;
    match built {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => say(&format!("build   {}build   what runs goes on", failure.render(false))),
        Err(error) => say(&format!("build   broke: {error}")),
    }
}

/// On stdout. Where nobody reads it, the host runs all the same.
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
