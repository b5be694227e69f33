//! `pelton component`: from a core module, as a compiler writes it, to a component.

use std::fs;

use anyhow::Context;
use pelton_wasm::component::componentize;

use crate::args::component::ComponentArgs;
use crate::exit::Failure;

/// Wraps the module. The output is written whole or not at all.
pub(crate) fn run(arguments: &ComponentArgs) -> Result<(), Failure> {
    let ComponentArgs { module, output } = arguments;
    let component = fs::read(module)
        .context("it cannot be read")
        .and_then(|bytes| Ok(componentize(&bytes)?))
        .with_context(|| module.display().to_string())
        .map_err(Failure::Unusable)?;
    // Beside the output, so that the rename cannot cross file systems.
    let half = output.with_extension(format!("{}.half", std::process::id()));
    let written = fs::write(&half, component).and_then(|()| fs::rename(&half, output));
    written.with_context(|| format!("cannot write {}", output.display())).map_err(|error| {
        // Nothing is left behind where the rename failed; where the write did, there may be nothing.
        let _ = fs::remove_file(&half);
        Failure::Run(error)
    })
}
