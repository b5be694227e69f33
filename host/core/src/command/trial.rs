//! A version of a plugin on trial: what it breaks, the version before decides in the same delivery, so that no caller sees
//! a failure. A version that breaks what the one before could do is to be taken back.
//!
//! What both break is nobody's fault but the command's, and does not count.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{CommandFlow, Wanted};
use crate::command::outcome::Answer;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::Retries;
use crate::message::{Command, Incoming};
use crate::plugin::{FaultKind, PluginFault};
use crate::retry::NotProcessed;

/// After so many faults a version on trial is to be taken back at once.
pub const MAX_FAULTS: u32 = 20;
/// After this time it is to be taken back, however few they were.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A version of a handler's plugin, as it takes the place of another.
#[derive(Debug, Clone)]
pub struct HandlerVersion<P> {
    /// The plugin.
    pub plugin: P,
    /// Where what it breaks is counted. None: the version before does not step in.
    pub trial: Option<Arc<Trial>>,
    /// The digests of versions that were taken back: what they made of events is not used.
    pub withdrawn: Arc<BTreeSet<String>>,
}

impl<P> From<P> for HandlerVersion<P> {
    fn from(plugin: P) -> Self {
        Self { plugin, trial: None, withdrawn: Arc::default() }
    }
}

impl<P: HandlerPlugin> HandlerVersion<P> {
    /// The same for another shard.
    #[must_use]
    pub fn for_shard(&self) -> Self {
        Self { plugin: self.plugin.for_shard(), trial: self.trial.clone(), withdrawn: self.withdrawn.clone() }
    }
}

/// What a version broke that the one before could do, over all shards of a host.
#[derive(Debug, Default)]
pub struct Trial {
    faults: watch::Sender<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    count: u32,
    first: Option<String>,
}

impl Trial {
    fn count(&self, fault: &PluginFault) {
        self.faults.send_modify(|faults| {
            faults.count += 1;
            faults.first.get_or_insert_with(|| fault.what.clone());
        });
    }

    /// Waits until the version is to be taken back: for the first fault, and then for [`MAX_FAULTS`] of them or for
    /// [`PATIENCE`]. Returns what the first one was.
    pub async fn lost(&self) -> String {
        let mut faults = self.faults.subscribe();
        // The sender lives as long as `self`.
        let _ = faults.wait_for(|faults| faults.count > 0).await;
        let _ = tokio::time::timeout(PATIENCE, faults.wait_for(|faults| faults.count >= MAX_FAULTS)).await;
        faults.borrow().first.clone().unwrap_or_default()
    }
}

/// The generation that steps in, as long as this one is on trial.
#[derive(Debug)]
pub(super) struct OnTrial<F>(Mutex<Option<(Arc<F>, Arc<Trial>)>>);

impl<F> Default for OnTrial<F> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<F> OnTrial<F> {
    pub(super) fn of(before: Arc<F>, trial: Option<Arc<Trial>>) -> Self {
        Self(Mutex::new(trial.map(|trial| (before, trial))))
    }

    fn get(&self) -> Option<(Arc<F>, Arc<Trial>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No generation steps in any more. Each would keep the one before it otherwise.
    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// The end of a command that broke this version of the plugin.
    pub(super) async fn end_by_version_before(
        &self,
        message: &Incoming,
        command: &Command,
        wanted: Wanted<'_>,
        fault: PluginFault,
    ) -> Result<Answer, NotProcessed> {
        let is_breakage = matches!(fault.kind, FaultKind::Broke | FaultKind::Refused);
        let Some((before, trial)) = self.on_trial.get().filter(|_| is_breakage) else {
            return Err(NotProcessed::Plugin(fault));
        };
        match before.end_in_any_sandbox(message, command, wanted).await {
            Ok(answer) => {
                tracing::warn!(
                    digest = before.plugin.digest(),
                    "the version before decided it: {}",
                    fault.in_short()
                );
                trial.count(&fault);
                Ok(answer)
            }
            Err(NotProcessed::Plugin(_) | NotProcessed::NotServed { .. }) => Err(NotProcessed::Plugin(fault)),
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(what: &str) -> PluginFault {
        PluginFault {
            plugin: "books".to_owned(),
            digest: "sha256:0".to_owned(),
            kind: FaultKind::Broke,
            shared: false,
            what: what.to_owned(),
            backtrace: Vec::new(),
            log: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_is_lost_after_enough_faults_or_after_a_while() {
        for (faults, waits) in [(MAX_FAULTS, false), (MAX_FAULTS - 1, true), (1, true)] {
            let trial = Trial::default();
            (0..faults).for_each(|n| trial.count(&fault(&format!("fault {n}"))));
            let began = tokio::time::Instant::now();
            assert_eq!(trial.lost().await, "fault 0");
            assert_eq!(began.elapsed() >= PATIENCE, waits, "{faults} faults");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_without_a_fault_stays() {
        let trial = Trial::default();
        assert!(tokio::time::timeout(PATIENCE * 1000, trial.lost()).await.is_err());
    }
}
