//! The kernel's limit on memory mappings, shared among the live instances.
//!
//! A process that has used up `vm.max_map_count` cannot even allocate for itself, and dies. So instances get a budget
//! below it, and one too many is refused with an error instead.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The default limit of Linux, assumed if the real one cannot be read.
const USUAL_LIMIT: usize = 65_530;
/// The mappings left for the host: code, threads, its own heap.
const KEPT_FOR_HOST: usize = 8_192;
/// The mappings of a memory: the guard before it, the parts below, in and above its first image, and the part that it
/// may grow into.
const PER_MEMORY: usize = 5;

/// The most mappings of all live instances of the process together.
#[derive(Debug)]
pub(crate) struct Mappings {
    used: AtomicUsize,
    limit: usize,
}

/// The mappings of one instance. Dropping it returns them.
#[derive(Debug)]
pub(crate) struct Reserved {
    mappings: &'static Mappings,
    count: usize,
}

impl Mappings {
    /// The mappings of this process.
    pub(crate) fn of_this_process() -> &'static Self {
        static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| {
            let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
            let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_LIMIT);
            Mappings { used: AtomicUsize::new(0), limit: limit.saturating_sub(KEPT_FOR_HOST) }
        });
        &MAPPINGS
    }

    /// The mappings of an instance with this many memories.
    pub(crate) fn needed(memories: usize) -> usize {
        PER_MEMORY.saturating_mul(memories)
    }

    /// The number of instances with one memory that there is room for.
    pub(crate) fn instances(&self) -> usize {
        self.limit / Self::needed(1)
    }

    /// Reserves this many, or none if there are too few.
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
