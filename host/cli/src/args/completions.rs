//! `pelton completions`

use clap::Args;
use clap_complete::Shell;

/// `pelton completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
