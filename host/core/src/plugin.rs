//! A plugin as all roles see it: its identity and its faults.

use std::time::Duration;

use crate::contract::MAX_RETRY_AFTER;
use crate::message::Failure;

/// The identity of a component, for events, outcomes and errors.
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's name in the configuration.
    fn name(&self) -> &str;

    /// What decides: the digest of the component, `sha256:` and 64 hexadecimal digits, followed by `+settings:` and 16
    /// digits of the plugin's settings if it has any.
    fn digest(&self) -> &str;

    /// A fault of this plugin that the host found in the plugin's answer.
    fn fault(&self, what: impl Into<String>) -> PluginFault
    where
        Self: Sized,
    {
        PluginFault {
            plugin: self.name().to_owned(),
            digest: self.digest().to_owned(),
            kind: FaultKind::Refused,
            shared: false,
            what: what.into(),
            backtrace: Vec::new(),
            log: Vec::new(),
        }
    }
}

/// A plugin's own name and version, for people.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A plugin broke a rule of the contract. The host stored nothing of its answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin} ({digest}): {what}{}", diagnostics(.backtrace, .log))]
pub struct PluginFault {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The digest of its component.
    pub digest: String,
    /// What to expect of another try.
    pub kind: FaultKind,
    /// Whether it happened in a sandbox that other entities shared: then it is no proof against the one that was called.
    pub shared: bool,
    /// What the plugin did.
    pub what: String,
    /// The guest's stack, innermost frame first, if there is one.
    pub backtrace: Vec<String>,
    /// The plugin's log lines of the call, bounded.
    pub log: Vec<String>,
}

impl PluginFault {
    /// The plugin, its digest and what it did, without backtrace and log: for a failure that is tried again. Where its
    /// message is set aside, everything is told once.
    #[must_use]
    pub fn in_short(&self) -> String {
        format!("plugin {} ({}): {}", self.plugin, self.digest, self.what)
    }
}

impl PluginFault {
    /// Whether the plugin did something wrong, so that another version may do better.
    #[must_use]
    pub fn is_breakage(&self) -> bool {
        matches!(self.kind, FaultKind::Broke | FaultKind::Refused)
    }
}

fn diagnostics(backtrace: &[String], log: &[String]) -> String {
    let block = |title: &str, lines: &[String]| match lines {
        [] => String::new(),
        _ => format!("\n{title}:\n  {}", lines.join("\n  ")),
    };
    block("guest backtrace", backtrace) + &block("guest log", log)
}

/// What to expect of another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The plugin trapped, ran out of time or out of memory. A try on a fresh instance may succeed.
    Broke,
    /// The sandbox was gone, because it broke at another call.
    Gone,
    /// The process has no room for a sandbox, or for one that grows. It is nobody's fault, and there may be room later.
    NoRoom,
    /// The plugin asked for another try after this time.
    RetryAfter(Duration),
    /// The plugin returned a value that the contract forbids, or said that the input will never succeed.
    Refused,
}

impl Failure {
    /// Converts it into a fault of the plugin that returned it.
    pub fn into_fault(self, plugin: &impl Plugin) -> PluginFault {
        match self {
            Self::Invalid(cause) => plugin.fault(cause),
            Self::Other(what) => PluginFault { kind: FaultKind::Broke, ..plugin.fault(what) },
            Self::Retry(after) => {
                let after = after.map(|ms| Duration::from_millis(ms).min(MAX_RETRY_AFTER));
                let kind = after.map_or(FaultKind::Broke, FaultKind::RetryAfter);
                PluginFault { kind, ..plugin.fault("it asked for a retry") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N11: the useful line drowned among the backtraces of every attempt.
    #[test]
    fn in_short_a_fault_has_one_line() {
        let fault = PluginFault {
            plugin: "books".to_owned(),
            digest: "sha256:0".to_owned(),
            kind: FaultKind::Broke,
            shared: false,
            what: "panicked at src/lib.rs:15:44: index out of bounds".to_owned(),
            backtrace: vec!["0: decide".to_owned()],
            log: vec!["error: panicked".to_owned()],
        };
        assert_eq!(
            fault.in_short(),
            "plugin books (sha256:0): panicked at src/lib.rs:15:44: index out of bounds"
        );
        assert!(fault.to_string().contains("0: decide"), "{fault}");
    }
}
