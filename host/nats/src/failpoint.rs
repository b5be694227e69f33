//! Places where a build for tests ends as if it had crashed. A release build has none of them.
//!
//! `PELTON_FAILPOINT=<name>:at=<n>` ends the process when it passes the place for the n-th time.
//! `<name>:1in=<n>:seed=<s>` ends it at one of n passages on average; the seed determines which. The process ends by
//! SIGKILL: nothing is flushed, and acknowledgements in transit are lost.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// The environment variable that chooses a failpoint.
pub const VARIABLE: &str = "PELTON_FAILPOINT";
/// After the first messages of an atomic batch were sent, before its last.
pub(crate) const MID_BATCH: &str = "mid-batch";

/// All failpoints of commands, in the order in which a command passes them.
pub const NAMES: [&str; 12] = [
    "after-load",
    "after-mark",
    "before-append",
    MID_BATCH,
    "after-append",
    "before-catch-up",
    "before-reply",
    "after-reply",
    "before-snapshot",
    "after-snapshot",
    "before-set-aside",
    "after-set-aside",
];

/// All failpoints of sagas: what their hosts pass, and then the hosts of the handlers that decide their commands.
pub const SAGA_NAMES: [&str; 7] = [
    "before-save",
    "after-save",
    "before-send",
    "after-send",
    "before-let-go",
    "before-report",
    "after-report",
];

#[derive(Debug)]
struct Failpoint {
    name: String,
    when: When,
    passed: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
enum When {
    At(u64),
    OneIn { n: u64, seed: u64 },
}

static CHOSEN: LazyLock<Result<Option<Failpoint>, String>> =
    LazyLock::new(|| match std::env::var(VARIABLE) {
        Ok(text) => Failpoint::parse(&text)
            .map(Some)
            .ok_or_else(|| format!("{VARIABLE} is {text:?}, which is not a failpoint")),
        Err(_) => Ok(None),
    });

/// Checks that the variable can be read. The error states what is wrong with it.
pub fn check() -> Result<(), String> {
    CHOSEN.as_ref().map(drop).map_err(Clone::clone)
}

/// Ends the process if this is the chosen failpoint and this passage is the chosen one.
pub fn pass(name: &str) {
    if due(name) {
        crash();
    }
}

/// Whether the process must end at this passage.
pub(crate) fn due(name: &str) -> bool {
    let chosen = CHOSEN.as_ref().ok().and_then(Option::as_ref).filter(|chosen| chosen.name == name);
    chosen.is_some_and(|chosen| chosen.when.is(chosen.passed.fetch_add(1, Ordering::Relaxed) + 1))
}

/// Ends the process.
pub(crate) fn crash() {
    // A process may always send signals to itself. If it may not, it aborts.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort();
}

impl Failpoint {
    fn parse(text: &str) -> Option<Self> {
        let (name, when) = text.split_once(':')?;
        let when = match when.split_once(':') {
            None => When::At(when.strip_prefix("at=")?.parse().ok()?),
            Some((n, seed)) => When::OneIn {
                n: n.strip_prefix("1in=")?.parse().ok().filter(|n| *n > 0)?,
                seed: seed.strip_prefix("seed=")?.parse().ok()?,
            },
        };
        (NAMES.contains(&name) || SAGA_NAMES.contains(&name)).then(|| Self {
            name: name.to_owned(),
            when,
            passed: AtomicU64::new(0),
        })
    }
}

impl When {
    /// Whether this passage, counted from 1, is the chosen one.
    fn is(&self, passage: u64) -> bool {
        match self {
            Self::At(n) => passage == *n,
            Self::OneIn { n, seed } => mixed(seed.wrapping_add(passage)).is_multiple_of(*n),
        }
    }
}

/// The finalizer of splitmix64: neighbouring numbers give distant results.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_name_and_a_time() {
        let when = |text| Failpoint::parse(text).map(|point| point.when);
        assert_eq!(when("after-append:at=3"), Some(When::At(3)));
        assert_eq!(when("mid-batch:1in=50:seed=7"), Some(When::OneIn { n: 50, seed: 7 }));
        for wrong in ["", "after-append", "nowhere:at=1", "after-append:at=x", "mid-batch:1in=0:seed=1"] {
            assert_eq!(when(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_in_n_is_about_that() {
        let when = When::OneIn { n: 50, seed: 7 };
        let times = (1..=10_000).filter(|passage| when.is(*passage)).count();
        assert!((100..=300).contains(&times), "{times}");
        assert!(!When::At(2).is(1) && When::At(2).is(2) && !When::At(2).is(3));
    }
}
