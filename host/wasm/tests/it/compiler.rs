//! A compiler in a process of its own: what it says, and what becomes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_wasm::{Limits, Plugins, Settings};

use crate::guests::handler;

/// A program in the compiler's place.
fn program(folder: &Path, script: &str) -> PathBuf {
    let file = folder.join("compiler");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn plugins(compiler: PathBuf) -> Plugins {
    Plugins::new(&Settings { compiler: Some(compiler), ..Settings::default() }).unwrap()
}

#[tokio::test]
async fn what_the_compiler_cannot_do_is_a_refusal_that_says_why() {
    for (script, expected) in [
        ("cat >/dev/null; echo 'error: a bad component' >&2; exit 4", "it does not compile: a bad component"),
        ("exit 3", "the compiler was ended (exit status: 3)"),
        ("kill -9 $$", "perhaps it needs more than 8 GiB"),
        ("echo 'no code'", "it does not compile"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused =
            plugins(program(folder.path(), script)).load("p", handler(&[]), Limits::default()).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(expected), "{script}: {said}");
    }
    let refused = plugins("/nowhere".into()).load("p", handler(&[]), Limits::default()).await;
    assert!(refused.unwrap_err().to_string().contains("the compiler cannot be started"));
}

/// R25: a compilation that nobody waits for any more went on to its end.
#[tokio::test]
async fn a_compiler_that_nobody_waits_for_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!("echo $$ > {0}.half; mv {0}.half {0}; exec sleep 600", started.display());
    let plugins = plugins(program(folder.path(), &script));
    let loading = tokio::spawn(async move { plugins.load("p", handler(&[]), Limits::default()).await });
    let soon = async |is: &dyn Fn() -> bool| {
        for _ in 0..1_000 {
            if is() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen in time");
    };
    soon(&|| started.exists()).await;
    let process = PathBuf::from(format!("/proc/{}", fs::read_to_string(&started).unwrap().trim()));
    assert!(process.exists());
    loading.abort();
    let is_gone = || {
        let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
        !process.exists() || state.contains(") Z ")
    };
    soon(&is_gone).await;
}
