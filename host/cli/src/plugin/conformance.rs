//! The gate's step `conformance`: whether `pelton test` has passed a version, by the verdict that was pushed with it.

use std::path::Path;

use pelton_kit::{NotTested, Refused, Verdict};
use pelton_nats::plugin_store::{self, Component};
use pelton_wasm::{Activation, LoadedPlugin};

/// What a plugin needs of the suite before it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Nothing is looked at.
    Off,
    /// What is missing is said.
    Warn,
    /// A verdict that it passed.
    Required,
}

/// The verdict beside a component, if there is one.
pub(super) async fn beside(component: &Path) -> Option<serde_json::Value> {
    let text = tokio::fs::read(Verdict::place(component)).await.ok()?;
    serde_json::from_slice(&text).ok()
}

/// What the gate says. `None`: the verdict is not looked at.
pub(super) fn step(
    needed: Needed,
    not_tested: NotTested,
    component: &Component,
    loaded: &LoadedPlugin,
    activation: &Activation,
) -> Option<plugin_store::Verdict> {
    let verdict = match &component.verdict {
        Some(verdict) => Verdict::read(&verdict.to_string()),
        None => Err(Refused::Missing),
    };
    let allowed = verdict.and_then(|verdict| verdict.allows_running(loaded, activation, not_tested));
    let (passed, found) = match (allowed, needed) {
        (_, Needed::Off) => return None,
        (Ok(()), _) => (true, "`pelton test` has passed it".to_owned()),
        (Err(why), Needed::Warn) => (true, format!("not known: {why}")),
        (Err(why), Needed::Required) => (false, format!("{why}, and push it again")),
    };
    Some(plugin_store::Verdict { step: "conformance".to_owned(), passed, found })
}
