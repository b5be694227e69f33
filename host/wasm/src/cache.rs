//! Compiled code on disk, so that a component is compiled once a machine and not once a start.
//!
//! Compiled code is native code: a program that can write an entry can run code as the host. So the directory and its
//! files belong to the host's user (modes 0700 and 0600), and an entry is used only if they do. A checksum detects what
//! a crash or a disk has torn. The name of an entry states what it was compiled from, and for which wasmtime and
//! settings.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::deserialize::deserialize;

/// The most entries, beside those that a process runs. The ones that were used longest ago are removed first.
const MAX_ENTRIES: usize = 64;
const SUFFIX: &str = ".pelton-code";
const CHECKSUM_BYTES: usize = 32;

/// Why the directory for compiled code cannot be used: a mistake in the configuration, or an attack.
#[derive(Debug, thiserror::Error)]
#[error("compiled code cannot be kept in {}: {what}", .directory.display())]
pub struct CacheError {
    /// The directory.
    pub directory: PathBuf,
    /// What is wrong with the directory, and what to do about it.
    pub what: String,
}

/// A compiled component.
pub(crate) struct Cached {
    pub(crate) component: Component,
    /// Its entry, with a lock that is shared by all processes that run it. `None`: it is not kept.
    pub(crate) entry: Option<Arc<File>>,
}

/// Compiled components in a directory that only the host's user can enter.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    owner: u32,
}

impl Cache {
    /// Opens the directory, or creates it.
    pub(crate) fn open(directory: &Path) -> Result<Self, CacheError> {
        let error = |what: String| CacheError { directory: directory.to_owned(), what };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|e| error(e.to_string()))?;
        let found = fs::symlink_metadata(directory).map_err(|e| error(e.to_string()))?;
        if !found.is_dir() {
            return Err(error("it is not a directory".to_owned()));
        }
        if found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o777;
            return Err(error(format!(
                "others can enter it (mode {mode:o}); run: chmod 700 {}",
                directory.display()
            )));
        }
        // The standard library does not tell the process's user; the owner of a file that it creates does.
        let probe = directory.join(format!("{SUFFIX}-probe.{}", unique()));
        let owner = private_file(&probe).and_then(|file| file.metadata()).map(|m| m.uid());
        let _ = fs::remove_file(&probe);
        let owner = owner.map_err(|e| error(format!("nothing can be written there: {e}")))?;
        if found.uid() != owner {
            return Err(error(format!("it belongs to the user {}, not to this one ({owner})", found.uid())));
        }
        Ok(Self { directory: directory.to_owned(), owner })
    }

    /// The compiled component, if there is a sound entry. An unsound entry is removed.
    fn get(&self, engine: &wasmtime::Engine, digest: &str) -> Option<Cached> {
        let path = self.path(engine, digest);
        let (file, entry) = match self.read(&path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => return self.discard(&path, &e),
        };
        let loaded = trusted(&entry).and_then(|code| {
            deserialize(engine, &code)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{e:#}")))
        });
        match loaded {
            Ok(component) => Some(Cached { component, entry: Some(Arc::new(file)) }),
            Err(e) => self.discard(&path, &e),
        }
    }

    /// The compiled component: the entry, or what `compile` makes. Where several processes want the same component, one
    /// compiles it and the others wait.
    pub(crate) fn get_or_compile<E>(
        &self,
        engine: &wasmtime::Engine,
        digest: &str,
        compile: impl FnOnce() -> Result<Component, E>,
    ) -> Result<Cached, E> {
        if let Some(component) = self.get(engine, digest) {
            return Ok(component);
        }
        let turn = PathBuf::from(format!("{}.turn", self.path(engine, digest).display()));
        // It ends with the process that has it. Where it cannot be had, to compile twice is no harm.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&turn);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        if locked.is_ok()
            && let Some(component) = self.get(engine, digest)
        {
            return Ok(component);
        }
        let compiled = compile().map(|component| {
            let entry = self.put(engine, digest, &component).map(Arc::new);
            Cached { component, entry }
        });
        let _ = fs::remove_file(&turn);
        compiled
    }

    /// Keeps the compiled component. A failure costs a compilation at the next start, and is logged as a warning.
    fn put(&self, engine: &wasmtime::Engine, digest: &str, component: &Component) -> Option<File> {
        let path = self.path(engine, digest);
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.write(&path, &code));
        match kept.and_then(|()| File::open(&path)).and_then(in_use) {
            Ok(file) => {
                self.drop_oldest();
                Some(file)
            }
            Err(e) => {
                tracing::warn!(path = %path.display(), "compiled code is not kept: {e}");
                None
            }
        }
    }

    fn path(&self, engine: &wasmtime::Engine, digest: &str) -> PathBuf {
        let mut settings = HashInto(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        let component = digest.trim_start_matches("sha256:");
        self.directory.join(format!("{component}-{:x}{SUFFIX}", settings.0.finalize()))
    }

    fn read(&self, path: &Path) -> io::Result<(File, Vec<u8>)> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut file = in_use(File::open(path)?)?;
        // Asks the open file, so that the file that is checked is the file that is read.
        let found = file.metadata()?;
        if found.uid() != self.owner || found.mode() & 0o077 != 0 {
            let (uid, mode) = (found.uid(), found.mode() & 0o777);
            return Err(io::Error::other(format!("others can write it (user {uid}, mode {mode:o})")));
        }
        let mut entry = Vec::new();
        file.read_to_end(&mut entry)?;
        let _ = file.set_modified(SystemTime::now());
        Ok((file, entry))
    }

    /// Writes under another name first: a crash leaves no half entry, and two hosts do not disturb each other.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let unfinished = PathBuf::from(format!("{}.{}", path.display(), unique()));
        let written = private_file(&unfinished).and_then(|mut file| {
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            fs::rename(&unfinished, path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn discard(&self, path: &Path, why: &io::Error) -> Option<Cached> {
        tracing::warn!(path = %path.display(), "compiled code is not used, and removed: {why}");
        let _ = fs::remove_file(path);
        None
    }

    fn drop_oldest(&self) {
        let Ok(listed) = fs::read_dir(&self.directory) else { return };
        // Includes what a crash left unfinished. Other files stay, in case the directory is a user's home.
        let ours = listed.flatten().filter(|e| e.file_name().to_string_lossy().contains(SUFFIX));
        let mut entries: Vec<_> =
            ours.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
        entries.sort_unstable();
        for (_, path) in entries.iter().rev().skip(MAX_ENTRIES).filter(|(_, path)| !is_in_use(path)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Locks an entry for as long as the file is open. Others may have it, too.
fn in_use(file: File) -> io::Result<File> {
    file.lock_shared().map(|()| file)
}

/// Whether some process runs it.
fn is_in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// A name that tells this write from every other one of this process and of others.
fn unique() -> String {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed))
}

fn private_file(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path); // left behind by a crash of a process with this id
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Bytes that this host wrote with `Component::serialize`, and that came back unchanged from a place where only its
/// user can write.
pub(crate) struct Trusted<'a>(&'a [u8]);

impl Trusted<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// The code of an entry from [`Cache::read`], if its checksum is right.
fn trusted(entry: &[u8]) -> io::Result<Trusted<'_>> {
    match entry.split_at_checked(CHECKSUM_BYTES) {
        Some((checksum, code)) if Sha256::digest(code).as_slice() == checksum => Ok(Trusted(code)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong")),
    }
}

/// Hashes with SHA-256 whatever implements `Hash`.
struct HashInto(Sha256);

impl Hasher for HashInto {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // not used: the caller takes the whole hash from inside
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_several_who_want_a_component_one_compiles_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("code")).unwrap();
        let mut config = wasmtime::Config::new();
        let engine = &wasmtime::Engine::new(config.wasm_component_model(true)).unwrap();
        let component = || Component::from_binary(engine, &wat::parse_str("(component)").unwrap());
        let (begun, first_compiles) = mpsc::channel();
        std::thread::scope(|scope| {
            let (cache, component) = (&cache, &component);
            scope.spawn(move || {
                let compiles = || {
                    begun.send(()).unwrap();
                    // The other comes meanwhile.
                    std::thread::sleep(Duration::from_millis(100));
                    component()
                };
                cache.get_or_compile(engine, "sha256:0", compiles).unwrap()
            });
            first_compiles.recv().unwrap();
            let waits = || -> wasmtime::Result<Component> { panic!("it is compiled twice") };
            cache.get_or_compile(engine, "sha256:0", waits).unwrap();
        });
        let left = fs::read_dir(folder.path().join("code")).unwrap().count();
        assert_eq!(left, 1, "the entry, and nothing that the turns left");
    }

    /// R25: as many pushes as there are entries evicted the code that ran.
    #[test]
    fn what_runs_is_kept_however_many_others_come() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("code")).unwrap();
        let mut config = wasmtime::Config::new();
        let engine = &wasmtime::Engine::new(config.wasm_component_model(true)).unwrap();
        let compile = || Component::from_binary(engine, &wat::parse_str("(component)").unwrap());
        let of = |n: usize| cache.get_or_compile(engine, &format!("sha256:{n}"), compile).unwrap();
        let (runs, ran) = (of(0), of(1));
        drop(ran);
        for n in 2..MAX_ENTRIES + 10 {
            drop(of(n));
        }
        assert!(cache.path(engine, "sha256:0").exists() && !cache.path(engine, "sha256:1").exists());
        drop(runs);
        for n in 0..MAX_ENTRIES {
            drop(of(1_000 + n));
        }
        assert!(!cache.path(engine, "sha256:0").exists(), "nothing runs it any more");
    }

    #[test]
    fn where_compiling_fails_the_next_one_tries() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("code")).unwrap();
        let mut config = wasmtime::Config::new();
        let engine = wasmtime::Engine::new(config.wasm_component_model(true)).unwrap();
        let failed = cache.get_or_compile(&engine, "sha256:0", || Err::<Component, _>("no"));
        assert_eq!(failed.err(), Some("no"));
        let component = cache.get_or_compile(&engine, "sha256:0", || {
            Component::from_binary(&engine, &wat::parse_str("(component)").unwrap())
        });
        assert!(component.is_ok());
    }
}
