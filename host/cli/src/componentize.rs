//! `pelton component`: wraps a core module, as compilers write it, into a component.

use std::fs;
use std::path::Path;

use anyhow::Context;
use pelton_wasm::component::componentize;

use crate::args::component::ComponentArgs;
use crate::exit::Failure;

/// Wraps the module.
pub(crate) fn run(arguments: &ComponentArgs) -> Result<(), Failure> {
    let ComponentArgs { module, output } = arguments;
    let component = wrap(module).map_err(Failure::Unusable)?;
    write(output, &component).map_err(Failure::Run)
}

/// The component of a module.
pub(crate) fn wrap(module: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(module).context("it cannot be read");
    bytes.and_then(|bytes| Ok(componentize(&bytes)?)).with_context(|| module.display().to_string())
}

/// Writes the component atomically.
pub(crate) fn write(output: &Path, component: &[u8]) -> anyhow::Result<()> {
    // Beside the output, so that the rename cannot cross file systems.
    let half = output.with_extension(format!("{}.half", std::process::id()));
    let written = fs::write(&half, component).and_then(|()| fs::rename(&half, output));
    written.with_context(|| format!("cannot write {}", output.display())).inspect_err(|_| {
        // Removes the temporary file, which may not exist if the write failed.
        let _ = fs::remove_file(&half);
    })
}
