//! `pelton check`

use clap::Args;

use super::common::ConfigArgs;

/// `pelton check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print every configuration key with its unit, default, meaning and an example, and check nothing
    #[arg(long)]
    pub(crate) reference: bool,
}
