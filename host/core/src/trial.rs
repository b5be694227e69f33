//! A version of a plugin on trial: the version before does what this one breaks. A version that breaks what the one before
//! could do is to be taken back.
//!
//! What both break is the fault of the command or the event, and does not count.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::plugin::PluginFault;

/// After so many faults a version on trial is to be taken back at once.
pub const MAX_FAULTS: u32 = 20;
/// After this time it is to be taken back, however few they were.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A version of a projection's or a saga's plugin, as it takes the place of another.
#[derive(Debug, Clone)]
pub struct Version<P> {
    /// The plugin.
    pub plugin: P,
    /// `None`: the version before does not step in.
    pub on_trial: Option<OnTrial<P>>,
}

impl<P> From<P> for Version<P> {
    fn from(plugin: P) -> Self {
        Self { plugin, on_trial: None }
    }
}

/// The trial of a version.
#[derive(Debug, Clone)]
pub struct OnTrial<P> {
    /// Where what it breaks is counted.
    pub trial: Arc<Trial>,
    /// The version before.
    pub before: P,
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
    pub(crate) fn count(&self, fault: &PluginFault) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::FaultKind;

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
