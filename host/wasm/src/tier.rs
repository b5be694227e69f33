//! Tiers: what a component may import beside the contract.

use std::fmt;

/// The tier of a plugin. Each tier allows what the one before it allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The interfaces of the contract, and nothing of WASI.
    #[default]
    Pure,
    /// WASI 0.2 without the world behind it: the clock shows the time of the message, random numbers follow from its id,
    /// there are no files, no sockets and no environment, and what is printed goes to the log. It is for languages whose
    /// runtimes import WASI.
    Deterministic,
}

/// The interfaces of WASI 0.2 that the tier `deterministic` allows.
const WASI: [&str; 27] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
];
const WASI_VERSIONS: &str = "0.2.";

impl Tier {
    /// All tiers, from the one that allows least.
    pub const ALL: [Self; 2] = [Self::Pure, Self::Deterministic];

    /// The tier's name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Deterministic => "deterministic",
        }
    }

    /// The tier of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// The first tier that allows an import of this name. `None` if no tier does.
    #[must_use]
    pub fn of_import(import: &str) -> Option<Self> {
        if import.starts_with("pelton:plugin/") {
            return Some(Self::Pure);
        }
        let (interface, version) = import.strip_prefix("wasi:")?.split_once('@')?;
        (WASI.contains(&interface) && version.starts_with(WASI_VERSIONS)).then_some(Self::Deterministic)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_has_the_first_tier_that_allows_it() {
        for (import, tier) in [
            ("pelton:plugin/log@0.1.0", Some(Tier::Pure)),
            ("wasi:clocks/wall-clock@0.2.0", Some(Tier::Deterministic)),
            ("wasi:random/insecure-seed@0.2.12", Some(Tier::Deterministic)),
            ("wasi:clocks/wall-clock@0.3.0", None),
            ("wasi:clocks/timezone@0.2.6", None),
            ("wasi:http/outgoing-handler@0.2.6", None),
            ("wasi:clocks/wall-clock", None),
            ("acme:clock/now@0.2.0", None),
        ] {
            assert_eq!(Tier::of_import(import), tier, "{import}");
        }
    }

    #[test]
    fn a_tier_is_found_by_its_name() {
        for tier in Tier::ALL {
            assert_eq!(Tier::of_name(tier.name()), Some(tier));
        }
        assert_eq!(Tier::of_name("Pure"), None);
    }
}
