//! A plugin as all roles know it: who it is, and what it did wrong.

use std::time::Duration;

use crate::contract::MAX_RETRY_AFTER;
use crate::message::Failure;

/// Which component does the work, for events, outcomes and errors.
pub trait Plugin: Send + Sync + 'static {
    /// The plugin's name in the configuration.
    fn name(&self) -> &str;

    /// The digest of its component: `sha256:` and 64 hexadecimal digits.
    fn digest(&self) -> &str;

    /// A fault of this plugin that the host found in what it returned.
    fn fault(&self, what: impl Into<String>) -> PluginFault
    where
        Self: Sized,
    {
        PluginFault {
            plugin: self.name().to_owned(),
            digest: self.digest().to_owned(),
            kind: FaultKind::Refused,
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

/// A plugin did something that no plugin may do. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin {plugin} ({digest}): {what}{}", diagnostics(.backtrace, .log))]
pub struct PluginFault {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The digest of its component.
    pub digest: String,
    /// Whether the same call can be expected to fail again on a fresh instance.
    pub kind: FaultKind,
    /// What it did.
    pub what: String,
    /// The guest's stack, innermost first, where there is one.
    pub backtrace: Vec<String>,
    /// What it logged during the call, bounded.
    pub log: Vec<String>,
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
    /// It trapped, ran out of time or out of memory: another try on a fresh instance may work.
    Broke,
    /// It asked to be tried again after this.
    RetryAfter(Duration),
    /// It returned something that the contract forbids, or said that the input will never work.
    Refused,
}

impl Failure {
    /// As a fault of the plugin that answered it.
    pub fn into_fault(self, plugin: &impl Plugin) -> PluginFault {
        match self {
            Self::Invalid(cause) => plugin.fault(cause),
            Self::Other(what) => PluginFault { kind: FaultKind::Broke, ..plugin.fault(what) },
            Self::Retry(after) => {
                let after = after.map(|ms| Duration::from_millis(ms).min(MAX_RETRY_AFTER));
                let kind = after.map_or(FaultKind::Broke, FaultKind::RetryAfter);
                PluginFault { kind, ..plugin.fault("it asked to be tried again") }
            }
        }
    }
}
