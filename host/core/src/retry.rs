//! Retries: one total function from the cause of a failure and the number of attempts to the verdict on a message.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::intake::IntakeError;
use crate::message::Incoming;
use crate::plugin::{FaultKind, PluginFault};
use crate::store::{ReadError, Unavailable, Unreadable};

/// Why a message was not processed.
#[derive(Debug, thiserror::Error)]
pub enum NotProcessed {
    /// The store is unavailable or slow. This is no plugin's fault, so the host retries until it works.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Other writers were faster at every try.
    #[error("the entity changed {0} times while the command was being decided")]
    Contended(u32),
    /// The message cannot be read as a command.
    #[error(transparent)]
    Unreadable(#[from] IntakeError),
    /// The running version of the plugin does not take the command's type. A later version may.
    #[error("plugin {plugin} ({digest}): this version does not take commands of type {type:?}")]
    NotServed {
        /// The plugin's name in the configuration.
        plugin: String,
        /// The digest of its component.
        digest: String,
        /// The command's type.
        r#type: String,
    },
    /// A stored message that the command depends on cannot be read.
    #[error("{0}")]
    Damaged(Unreadable),
    /// The plugin broke a rule of the contract.
    #[error(transparent)]
    Plugin(#[from] PluginFault),
    /// The message failed before, for this cause, and the host was interrupted while it set the message aside.
    #[error("{0}")]
    Failed(String),
}

impl NotProcessed {
    /// The cause for a failure that is tried again; see [`PluginFault::in_short`].
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Plugin(fault) => fault.in_short(),
            other => other.to_string(),
        }
    }
}

impl From<ReadError> for NotProcessed {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(away) => Self::Unavailable(away),
            ReadError::Unreadable(damaged) => Self::Damaged(damaged),
        }
    }
}

/// How failures are retried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The number of times that a plugin may fail on a message before the message is set aside.
    pub max_attempts: u32,
    /// The wait after the first failure. It doubles with every further failure.
    pub first_delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, first_delay: Duration::from_millis(200), max_delay: Duration::from_secs(30) }
    }
}

/// How long a command waits for a version that takes its type: longer than all hosts need to switch. Then it is set aside,
/// because those behind it wait, too.
pub const UNSERVED_PATIENCE: Duration = Duration::from_secs(30);

/// What to do with a message that was not processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this time.
    Retry(Duration),
    /// Keep it as a dead letter.
    SetAside,
}

impl RetryPolicy {
    /// What to do with a message, given the cause and the number of such failures (from 1); see [`Failures`].
    ///
    /// Only a plugin's failures use up attempts: an unavailable store, a busy entity or a lack of memory must not turn a
    /// good command into a dead letter.
    #[must_use]
    pub fn verdict(&self, stop: &NotProcessed, attempt: u32) -> Verdict {
        match stop {
            NotProcessed::Unavailable(_)
            | NotProcessed::Contended(_)
            // A host that was configured before the type was added leaves it to those that come.
            | NotProcessed::Unreadable(IntakeError::UnknownType(_)) => Verdict::Retry(self.delay(attempt)),
            NotProcessed::NotServed { .. } if self.waited(attempt) < UNSERVED_PATIENCE => {
                Verdict::Retry(self.delay(attempt))
            }
            NotProcessed::NotServed { .. }
            | NotProcessed::Unreadable(_)
            | NotProcessed::Damaged(_)
            | NotProcessed::Failed(_) => Verdict::SetAside,
            NotProcessed::Plugin(fault) => self.verdict_on(fault, attempt),
        }
    }

    /// The verdict on a fault of the plugin.
    #[must_use]
    pub fn verdict_on(&self, fault: &PluginFault, attempt: u32) -> Verdict {
        match fault.kind {
            FaultKind::NoRoom => Verdict::Retry(self.delay(attempt)),
            FaultKind::Refused => Verdict::SetAside,
            _ if attempt >= self.max_attempts => Verdict::SetAside,
            FaultKind::Broke | FaultKind::Gone => Verdict::Retry(self.delay(attempt)),
            FaultKind::RetryAfter(after) => Verdict::Retry(after),
        }
    }

    /// The sum of the waits before the given attempt (from 1), or of the first ones.
    fn waited(&self, attempt: u32) -> Duration {
        (1..attempt.min(64)).map(|attempt| self.delay(attempt)).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The wait after the given attempt (from 1), before jitter.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        self.first_delay.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.max_delay)
    }
}

/// The most messages whose failures are counted at a time. The one whose last failure is oldest is forgotten first.
const MAX_FAILING: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The number of times that plugins failed on the messages of one consumer, as counted by this process.
///
/// The server's number of deliveries is another one: it also grows when a host or the store is unavailable, which must
/// not use up a message's attempts. After a restart the count starts anew.
///
/// `K` identifies what failed: a message by its sequence, or one of several things that were derived from it.
#[derive(Debug)]
pub struct Failures<K: Hash + Eq>(Mutex<LruCache<K, u32>>);

impl<K: Hash + Eq> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_FAILING)))
    }
}

impl<K: Hash + Eq> Failures<K> {
    /// Counts one more failure of a message. Returns the number for [`RetryPolicy::verdict`].
    pub fn count(&self, stop: &NotProcessed, failed: K, message: &Incoming) -> u32 {
        match stop {
            NotProcessed::Plugin(fault) if fault.kind != FaultKind::NoRoom => {
                let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let count = failures.get_or_insert_mut(failed, || 0);
                *count += 1;
                *count
            }
            _ => message.attempt,
        }
    }
}
