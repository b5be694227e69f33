//! What becomes of a message: one total function from what happened and how often to what the consumer is told.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::id::Sequence;
use crate::intake::IntakeError;
use crate::message::Incoming;
use crate::plugin::{FaultKind, PluginFault};
use crate::store::Unavailable;

/// Why a message was not processed.
#[derive(Debug, thiserror::Error)]
pub enum NotProcessed {
    /// The store is away or slow. Nobody's fault, so it is tried until it works.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Other writers were faster every time.
    #[error("the entity changed {0} times while the command was being decided")]
    Contended(u32),
    /// Another host has decided it ahead, and may still be storing it.
    #[error(
        "another host may be storing the command behind others, as long as its entity is at sequence {0}"
    )]
    Ahead(Sequence),
    /// It cannot be read as what it should be.
    #[error(transparent)]
    Unreadable(#[from] IntakeError),
    /// The plugin did something that no plugin may do.
    #[error(transparent)]
    Plugin(#[from] PluginFault),
    /// It has failed before, for this cause, and was not set aside to the end.
    #[error("{0}")]
    Failed(String),
}

/// How failures are retried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often a plugin may fail over a message before it is set aside.
    pub max_attempts: u32,
    /// The wait after the first failure; it doubles with every further one.
    pub first_delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, first_delay: Duration::from_millis(200), max_delay: Duration::from_secs(30) }
    }
}

/// What to do about a message that was not processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this.
    Retry(Duration),
    /// Keep it as a dead letter.
    SetAside,
}

impl RetryPolicy {
    /// What to do, given why the message was not processed and how often that has been so (from 1): see [`Failures`].
    ///
    /// Only a plugin's failures use up attempts: a store that is away or an entity that is busy must not turn a good
    /// command into a dead letter.
    #[must_use]
    pub fn verdict(&self, stop: &NotProcessed, attempt: u32) -> Verdict {
        match stop {
            NotProcessed::Unavailable(_) | NotProcessed::Contended(_) | NotProcessed::Ahead(_) => {
                Verdict::Retry(self.delay(attempt))
            }
            NotProcessed::Unreadable(_) | NotProcessed::Failed(_) => Verdict::SetAside,
            NotProcessed::Plugin(fault) => self.verdict_on(fault, attempt),
        }
    }

    /// The same, where it is known to be the plugin's fault.
    #[must_use]
    pub fn verdict_on(&self, fault: &PluginFault, attempt: u32) -> Verdict {
        match fault.kind {
            FaultKind::Refused => Verdict::SetAside,
            _ if attempt >= self.max_attempts => Verdict::SetAside,
            FaultKind::Broke => Verdict::Retry(self.delay(attempt)),
            FaultKind::RetryAfter(after) => Verdict::Retry(after),
        }
    }

    /// The wait after the given attempt (from 1), before jitter.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        self.first_delay.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.max_delay)
    }
}

/// The most messages whose failures are counted at a time; whoever has not failed for longest is forgotten.
const MAX_FAILING: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// How often plugins have failed over messages of one consumer, as far as this process knows.
///
/// How often the server has handed a message out says something else: it does so too when a host or the store was
/// away, and none of that may use up a message's attempts. After a restart the count begins anew.
///
/// `K` says what failed: a message by its sequence, or one of several things that were made of it.
#[derive(Debug)]
pub struct Failures<K: Hash + Eq>(Mutex<LruCache<K, u32>>);

impl<K: Hash + Eq> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_FAILING)))
    }
}

impl<K: Hash + Eq> Failures<K> {
    /// Counts one more reason why a message was not processed. Answers the number for [`RetryPolicy::verdict`].
    pub fn count(&self, stop: &NotProcessed, failed: K, message: &Incoming) -> u32 {
        match stop {
            NotProcessed::Plugin(_) => {
                let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let count = failures.get_or_insert_mut(failed, || 0);
                *count += 1;
                *count
            }
            _ => message.attempt,
        }
    }
}
