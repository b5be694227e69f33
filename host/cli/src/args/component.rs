//! `pelton component`

use std::path::PathBuf;

use clap::Args;

/// `pelton component`
#[derive(Debug, Args)]
pub(crate) struct ComponentArgs {
    /// The core module; it carries the world that it was built against
    #[arg(value_name = "IN.wasm")]
    pub(crate) module: PathBuf,
    /// The file to write the component to
    #[arg(short, long, value_name = "OUT.wasm")]
    pub(crate) output: PathBuf,
}
