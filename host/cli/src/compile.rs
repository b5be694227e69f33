//! `pelton compile-component`, which the program starts of itself: components are compiled in a child process with bounds.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::anyhow;
use pelton_wasm::compiler;

use crate::exit::Failure;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Has this program compile components from now on. A program that only uses the library compiles in its own process.
pub(crate) fn by_this_program() {
    if let Ok(program) = std::env::current_exe() {
        let _ = PROGRAM.set(program);
    }
}

/// The program that compiles.
pub(crate) fn program() -> Option<PathBuf> {
    PROGRAM.get().cloned()
}

/// Compiles a component from stdin to stdout.
pub(crate) fn run() -> Result<(), Failure> {
    compiler::compile(std::io::stdin().lock(), std::io::stdout().lock())
        .map_err(|why| Failure::Run(anyhow!(why)))
}
