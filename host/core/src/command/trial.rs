//! A handler's version on trial: what it breaks, the version before decides in the same delivery, so that no caller sees a
//! failure.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{CommandFlow, Wanted};
use crate::command::outcome::Answer;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::Retries;
use crate::message::{Command, Incoming};
use crate::plugin::PluginFault;
use crate::retry::NotProcessed;
use crate::trial::Trial;

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
        let Some((before, trial)) = self.on_trial.get().filter(|_| fault.is_breakage()) else {
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
