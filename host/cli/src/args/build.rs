//! `pelton build`

use std::path::{Path, PathBuf};

use clap::Args;

/// `pelton build`
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The configuration whose crates are built; may be given several times
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "pelton.toml",
        env = "PELTON_CONFIG",
        conflicts_with = "crates"
    )]
    pub(crate) config: Vec<PathBuf>,
    /// Build this crate instead of those of a configuration, into the folder of `--out`; may be given several times
    #[arg(long = "crate", value_name = "DIR", requires = "out")]
    pub(crate) crates: Vec<PathBuf>,
    /// The folder for the components of `--crate`, as `<package>.wasm`
    #[arg(long, value_name = "DIR", requires = "crates")]
    pub(crate) out: Option<PathBuf>,
    /// Build with cargo's release profile: small and fast components, for production
    #[arg(long, conflicts_with = "profile")]
    pub(crate) release: bool,
    /// Build with this profile of cargo
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// More arguments for `cargo build`
    #[arg(last = true, value_name = "CARGO ARGUMENTS")]
    pub(crate) cargo: Vec<String>,
}

impl BuildArgs {
    /// Everything that a configuration names, with the default profile.
    pub(crate) fn of_configuration(config: &Path) -> Self {
        Self {
            config: vec![config.to_owned()],
            crates: Vec::new(),
            out: None,
            release: false,
            profile: None,
            cargo: Vec::new(),
        }
    }

    /// Cargo's profile.
    pub(crate) fn profile(&self) -> &str {
        match &self.profile {
            Some(profile) => profile,
            None if self.release => "release",
            None => "dev",
        }
    }
}
