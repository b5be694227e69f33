//! `[wasm]`: how plugins are run.

use std::path::{Path, PathBuf};

use pelton_wasm::Settings;

use super::text::key::{Key, Optional, Or, Size, Table, Text};
use super::text::reader::Reader;

static COMPILED_CODE: Key<Text, Optional> = Key {
    name: "compiled-code",
    form: Text("path of a folder, relative to the configuration"),
    default: Optional("none: every start compiles (`pelton dev` keeps compiled code in its store)"),
    example: "\"compiled\"",
    doc: "Where compiled plugins are kept between starts. The folder is the host's alone (mode 0700).",
};

static MEMORY_BYTES: Key<Size, Or<usize>> = Key {
    name: "memory-bytes",
    form: Size(64 << 20..=1 << 40),
    default: Or(|| Settings::default().memory_bytes),
    example: "\"8GiB\"",
    doc: "What all sandboxes of the host take together: their memories and tables. Where it is used up, commands and \
          events wait until there is room again.",
};

pub(super) static TABLE: Table = Table {
    name: "wasm",
    header: "[wasm]",
    doc: "How plugins are run.",
    keys: &[&COMPILED_CODE, &MEMORY_BYTES],
    tables: &[],
    free: None,
};

/// `[wasm]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmSettings {
    /// The folder of compiled code. `None`: every start compiles.
    pub compiled_code: Option<PathBuf>,
    /// The most bytes that all sandboxes take together.
    pub memory_bytes: usize,
}

impl WasmSettings {
    pub(super) fn read(table: &Reader<'_>, base: &Path) -> Self {
        Self {
            compiled_code: table.at(&COMPILED_CODE).map(|path| base.join(path.value)),
            memory_bytes: table.get(&MEMORY_BYTES),
        }
    }
}
