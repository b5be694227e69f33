//! `pelton:plugin/log`: the one import of a pure plugin.

use std::fmt::Write;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::bindings::folds::pelton::plugin::log::Level;
use crate::sandbox::Guest;

/// What a call logged, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    lines: Vec<String>,
    bytes: usize,
    cut: usize,
}

impl CallLog {
    /// A new call begins.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.bytes = 0;
        self.cut = 0;
    }

    /// What was kept, and how much was not.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.cut > 0 {
            lines.push(format!("({} more lines were cut)", self.cut));
        }
        self.clear();
        lines
    }
}

/// Gives guests the function. Lines go to the host's log under the target `plugin`, inside the span of the call's message.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("pelton:plugin/log@0.1.0")?.func_wrap("log", write_line)
}

/// A line over the limits is counted and not even read: a flood must not cost the host more than the calls themselves.
fn write_line(
    mut store: StoreContextMut<'_, Guest>,
    (level, message): (Level, WasmStr),
) -> wasmtime::Result<()> {
    let guest = store.data();
    let limits = &guest.origin.limits;
    let left = limits.log_bytes.saturating_sub(guest.log.bytes);
    if guest.log.lines.len() >= limits.log_lines || left == 0 {
        store.data_mut().log.cut += 1;
        return Ok(());
    }
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
    guest.log.bytes += line.len();
    guest.log.lines.push(format!("{name}: {line}"));
    Ok(())
}

/// The text with control characters written out: a guest must not forge lines of the host's log, or steer a terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_forge_another() {
        assert_eq!(printable("a\nERROR b\u{1b}[31m\tc"), "a\\nERROR b\\u{1b}[31m\tc");
    }
}
