//! `[wasm]`: how plugins are run.

use std::path::{Path, PathBuf};

use super::text::key::{Key, Optional, Table, Text};
use super::text::reader::Reader;

static COMPILED_CODE: Key<Text, Optional> = Key {
    name: "compiled-code",
    form: Text("path of a folder, relative to the configuration"),
    default: Optional("none: every start compiles (`pelton dev` keeps compiled code in its store)"),
    example: "\"compiled\"",
    doc: "Where compiled plugins are kept between starts. The folder is the host's alone (mode 0700).",
};

pub(super) static TABLE: Table = Table {
    name: "wasm",
    header: "[wasm]",
    doc: "How plugins are run.",
    keys: &[&COMPILED_CODE],
    tables: &[],
    free: None,
};

/// `[wasm]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WasmSettings {
    /// Where compiled code is kept between starts; none: every start compiles.
    pub compiled_code: Option<PathBuf>,
}

impl WasmSettings {
    pub(super) fn read(table: &Reader<'_>, base: &Path) -> Self {
        Self { compiled_code: table.at(&COMPILED_CODE).map(|path| base.join(path.value)) }
    }
}
