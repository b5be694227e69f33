//! `pelton:plugin/log`: the one import of a pure plugin.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::bindings::folds::pelton::plugin::log::Level;
use crate::call_log::printable;
use crate::guest::Guest;

/// Links the function for guests. Lines go to the host's log under the target `plugin`, inside the span of the call's
/// message.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("pelton:plugin/log@0.1.0")?.func_wrap("log", write_line)
}

/// Writes a line. A line over the limits is counted and not even read, so that a flood costs the host no more than the
/// calls themselves.
fn write_line(
    mut store: StoreContextMut<'_, Guest>,
    (level, message): (Level, WasmStr),
) -> wasmtime::Result<()> {
    let guest = store.data();
    let Some(left) = guest.log.room(&guest.origin.limits) else {
        store.data_mut().log.cut();
        return Ok(());
    };
    let line = {
        let text = message.to_str(&store)?;
        printable(&text[..text.floor_char_boundary(left)])
    };
    let guest = store.data_mut();
    let (plugin, digest) = (guest.origin.name.as_str(), guest.origin.digest.as_str());
    let name = match level {
        Level::Debug => {
            tracing::debug!(target: "plugin", plugin, digest, "{line}");
            "debug"
        }
        Level::Info => {
            tracing::info!(target: "plugin", plugin, digest, "{line}");
            "info"
        }
        Level::Warn => {
            tracing::warn!(target: "plugin", plugin, digest, "{line}");
            "warn"
        }
        Level::Error => {
            tracing::error!(target: "plugin", plugin, digest, "{line}");
            "error"
        }
    };
    guest.log.keep(name, &line);
    Ok(())
}
