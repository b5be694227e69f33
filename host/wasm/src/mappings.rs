//! The kernel's limit on memory mappings, shared out among the live instances.
//!
//! A process that has used up `vm.max_map_count` cannot even allocate for itself, and dies. So instances get a budget
//! below it, and who asks for one too many is refused with words instead.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit of a Linux that nobody has tuned; assumed where the real one cannot be read.
const USUAL_LIMIT: usize = 65_530;
/// What is left for the host: code, threads, its own heap.
const KEPT_FOR_HOST: usize = 8_192;
/// A memory: the guard before it, what lies below, in and above its first image, and what it may grow into.
const PER_MEMORY: usize = 5;

/// The mappings that all live instances of the process may have together.
#[derive(Debug)]
pub(crate) struct Mappings {
    used: AtomicUsize,
    limit: usize,
}

/// The mappings of one instance, given back when it goes.
#[derive(Debug)]
pub(crate) struct Reserved {
    mappings: &'static Mappings,
    count: usize,
}

impl Mappings {
    /// Those of this process.
    pub(crate) fn of_this_process() -> &'static Self {
        static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| {
            let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
            let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_LIMIT);
            Mappings { used: AtomicUsize::new(0), limit: limit.saturating_sub(KEPT_FOR_HOST) }
        });
        &MAPPINGS
    }

    /// What an instance with so many memories takes.
    pub(crate) fn needed(memories: usize) -> usize {
        PER_MEMORY.saturating_mul(memories)
    }

    /// How many instances of plugins with one memory there is room for.
    pub(crate) fn instances(&self) -> usize {
        self.limit / Self::needed(1)
    }

    /// Takes this many, or nothing if they are not there.
    pub(crate) fn reserve(&'static self, count: usize) -> Option<Reserved> {
        let with = |used: usize| used.checked_add(count).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).ok()?;
        Some(Reserved { mappings: self, count })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.mappings.used.fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_had_again() {
        static MAPPINGS: Mappings = Mappings { used: AtomicUsize::new(0), limit: 11 };
        let mappings = &MAPPINGS;
        assert_eq!((Mappings::needed(1), mappings.instances()), (5, 2));
        let held = [mappings.reserve(5), mappings.reserve(5)];
        assert!(held.iter().all(Option::is_some));
        assert!(mappings.reserve(5).is_none());
        drop(held);
        assert!(mappings.reserve(10).is_some());
        assert!(mappings.reserve(usize::MAX).is_none());
    }
}
