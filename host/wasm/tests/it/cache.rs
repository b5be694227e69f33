//! Compiled code on disk is used if it is sound and belongs to the host's user, and never otherwise.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pelton_wasm::{Limits, Plugins, Settings};

use crate::guests::handler;

fn plugins(directory: &Path) -> Plugins {
    Plugins::new(&Settings { cache_dir: Some(directory.to_owned()), ..Settings::default() }).expect("a cache")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("readable").map(|entry| entry.expect("an entry").path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn compiled_code_is_kept_private_and_checked_before_use() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("code");
    let load = async || {
        plugins(&directory).load("guest", handler(&[]), Limits::default()).await.expect("loads");
    };
    load().await;
    let [entry] = &entries(&directory)[..] else {
        panic!("one entry, no leftovers: {:?}", entries(&directory))
    };
    assert_eq!((mode(&directory), mode(entry)), (0o700, 0o600));
    let written = fs::read(entry).expect("readable");

    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    fs::File::open(entry).and_then(|file| file.set_modified(long_ago)).expect("set");
    let before = fs::metadata(entry).expect("there");
    load().await;
    let after = fs::metadata(entry).expect("there");
    assert_eq!(after.ino(), before.ino(), "it is used, not written again");
    assert_ne!(after.modified().expect("a time"), long_ago, "what was used last goes last");

    let mut torn = written.clone();
    torn[2000] ^= 1;
    type Harm<'a> = &'a dyn Fn();
    let harms: [(&str, Harm<'_>); 4] = [
        ("changed", &|| fs::write(entry, &torn).expect("written")),
        ("cut", &|| fs::write(entry, &written[..20]).expect("written")),
        ("open to others", &|| fs::set_permissions(entry, Permissions::from_mode(0o666)).expect("set")),
        ("a link", &|| {
            fs::rename(entry, parent.path().join("elsewhere")).expect("moved");
            std::os::unix::fs::symlink(parent.path().join("elsewhere"), entry).expect("linked");
        }),
    ];
    for (what, harm) in harms {
        harm();
        load().await;
        assert_eq!(fs::read(entry).expect("readable"), written, "{what}: it was made anew");
        assert!(fs::symlink_metadata(entry).expect("there").is_file(), "{what}");
        assert_eq!(mode(entry), 0o600, "{what}");
    }
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let parent = tempfile::tempdir().expect("a directory");
    let refused = |path: &Path| {
        Plugins::new(&Settings { cache_dir: Some(path.to_owned()), ..Settings::default() })
            .expect_err("refused")
            .to_string()
    };
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).expect("set");
    let text = refused(parent.path());
    assert!(text.contains("mode 755") && text.contains("run: chmod 700 "), "{text}");
    let file = parent.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(refused(&file).contains("compiled code cannot be kept in"));
}
