//! The room that sandboxes take: memory, and the kernel's memory mappings.
//!
//! All sandboxes of the process have one budget, and those of one plugin a part of it, so that no plugin takes the room
//! of all others. A process that has used up `vm.max_map_count` cannot even allocate for itself, and dies; so the budget
//! of mappings lies below it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use crate::limits::InBytes;

/// The default limit of Linux, assumed if the real one cannot be read.
const USUAL_MAPPINGS: usize = 65_530;
/// The mappings left for the host: code, threads, its own heap.
const MAPPINGS_KEPT_FOR_HOST: usize = 8_192;
/// The mappings of a memory: the guard before it, the parts below, in and above its first image, and the part that it
/// may grow into.
const MAPPINGS_PER_MEMORY: usize = 5;
/// What an instance takes beside its memories and tables, in bytes: the store, the instances, their handles.
const HOST_BYTES_PER_INSTANCE: usize = 24 * 1024;
/// One plugin may take at most one part in so many of the process's mappings.
const PLUGINS_PART: usize = 2;

/// An amount of which no more than a limit is in use.
#[derive(Debug)]
struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes this much, or nothing if there is too little.
    fn take(&self, amount: usize) -> bool {
        let with = |used: usize| used.checked_add(amount).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    fn give_back(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// The room of all sandboxes of the process together.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: Budget,
    mappings: &'static Budget,
}

/// The mappings of the process.
fn mappings() -> &'static Budget {
    static MAPPINGS: LazyLock<Budget> = LazyLock::new(|| {
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_MAPPINGS);
        Budget::new(limit.saturating_sub(MAPPINGS_KEPT_FOR_HOST))
    });
    &MAPPINGS
}

/// The number of instances with one memory that one plugin may have. The kernel limits memory mappings
/// (`vm.max_map_count`), and an instance takes five.
#[must_use]
pub fn max_instances_of_a_plugin() -> usize {
    mappings().limit / PLUGINS_PART / MAPPINGS_PER_MEMORY
}

impl Room {
    /// Room for this many bytes, and for as many mappings as the kernel allows.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes: Budget::new(bytes), mappings: mappings() })
    }

    /// The part of one plugin, of at most this many bytes, or else of the usual part of all.
    pub(crate) fn part(self: &Arc<Self>, bytes: Option<usize>) -> Arc<Part> {
        Arc::new(Part {
            room: self.clone(),
            bytes: Budget::new(bytes.unwrap_or(self.bytes.limit / PLUGINS_PART)),
            mappings: Budget::new(self.mappings.limit / PLUGINS_PART),
            largest_memory: AtomicUsize::new(0),
        })
    }
}

/// The room of the sandboxes of one plugin together.
#[derive(Debug)]
pub(crate) struct Part {
    room: Arc<Room>,
    bytes: Budget,
    mappings: Budget,
    /// The most bytes of linear memory that one instance has had.
    largest_memory: AtomicUsize,
}

/// What there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// All sandboxes of the plugin have this many bytes, and no more is allowed.
    PluginBytes(usize),
    /// All sandboxes of the process have this many bytes, and no more is allowed.
    Bytes(usize),
    /// The kernel's memory mappings.
    Mappings,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PluginBytes(limit) => {
                write!(f, "all sandboxes of the plugin together have {}, the most that they may", InBytes(*limit))
            }
            Self::Bytes(limit) => write!(
                f,
                "all sandboxes of this host together have {}, the most that they may; if the machine has more, raise \
                 `memory-bytes` in [wasm]",
                InBytes(*limit)
            ),
            Self::Mappings => f.write_str(
                "there are so many sandboxes that the machine's vm.max_map_count allows no more; keep fewer entities \
                 alive or raise it",
            ),
        }
    }
}

impl Part {
    /// What the plugin's sandboxes take now, in bytes.
    pub(crate) fn used_bytes(&self) -> usize {
        self.bytes.used.load(Ordering::Relaxed)
    }

    /// The most bytes of linear memory that one of the plugin's instances has had.
    pub(crate) fn largest_memory_bytes(&self) -> usize {
        self.largest_memory.load(Ordering::Relaxed)
    }

    /// Room for an instance with this many memories, which are still to be made.
    pub(crate) fn enter(self: &Arc<Self>, memories: usize) -> Result<Taken, Lacking> {
        let mappings = MAPPINGS_PER_MEMORY.saturating_mul(memories);
        if !self.mappings.take(mappings) {
            return Err(Lacking::Mappings);
        }
        if !self.room.mappings.take(mappings) {
            self.mappings.give_back(mappings);
            return Err(Lacking::Mappings);
        }
        let mut taken = Taken { part: self.clone(), mappings, bytes: 0 };
        taken.grow(HOST_BYTES_PER_INSTANCE)?;
        Ok(taken)
    }
}

/// The room of one instance. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Taken {
    part: Arc<Part>,
    mappings: usize,
    bytes: usize,
}

impl Taken {
    /// Takes this many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Lacking> {
        let Part { room, bytes: of_plugin, .. } = &*self.part;
        if !of_plugin.take(bytes) {
            return Err(Lacking::PluginBytes(of_plugin.limit));
        }
        if !room.bytes.take(bytes) {
            of_plugin.give_back(bytes);
            return Err(Lacking::Bytes(room.bytes.limit));
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Notes that the instance has so many bytes of linear memory.
    pub(crate) fn has_memory(&self, bytes: usize) {
        self.part.largest_memory.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Gives back so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.part.bytes.give_back(bytes);
        self.part.room.bytes.give_back(bytes);
        self.bytes -= bytes;
    }

    /// The bytes of the instance: its memories and tables, touched or not, and what the host needs for it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(self.bytes);
        self.part.mappings.give_back(self.mappings);
        self.part.room.mappings.give_back(self.mappings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let budget = Budget::new(11);
        assert!(budget.take(5) && budget.take(5) && !budget.take(5));
        budget.give_back(10);
        assert!(budget.take(10) && !budget.take(usize::MAX));
    }

    /// R23, R24: only what an instance had grown by was counted, and one plugin could take the room of all.
    #[test]
    fn a_plugin_has_its_part_and_all_of_them_one_room() {
        let room = Room::new(10 * HOST_BYTES_PER_INSTANCE);
        let (small, large) = (room.part(Some(2 * HOST_BYTES_PER_INSTANCE)), room.part(None));
        let mut taken = small.enter(1).unwrap();
        taken.grow(HOST_BYTES_PER_INSTANCE).unwrap();
        assert_eq!(taken.grow(1), Err(Lacking::PluginBytes(2 * HOST_BYTES_PER_INSTANCE)));
        assert_eq!(small.enter(1).unwrap_err(), Lacking::PluginBytes(2 * HOST_BYTES_PER_INSTANCE));
        let mut other = large.enter(1).unwrap();
        other.grow(4 * HOST_BYTES_PER_INSTANCE).unwrap();
        assert_eq!(other.grow(1), Err(Lacking::PluginBytes(5 * HOST_BYTES_PER_INSTANCE)), "half of all");
        let third = room.part(Some(usize::MAX));
        let mut rest = third.enter(1).unwrap();
        rest.grow(2 * HOST_BYTES_PER_INSTANCE).unwrap();
        assert_eq!(rest.grow(1), Err(Lacking::Bytes(10 * HOST_BYTES_PER_INSTANCE)));
        drop((taken, other));
        rest.grow(7 * HOST_BYTES_PER_INSTANCE).unwrap();
        assert_eq!(rest.bytes(), 10 * HOST_BYTES_PER_INSTANCE);
    }

    #[test]
    fn a_plugin_with_many_memories_leaves_mappings_for_others() {
        let room = Room::new(usize::MAX);
        let (greedy, other) = (room.part(None), room.part(None));
        let memories = room.mappings.limit / MAPPINGS_PER_MEMORY;
        assert_eq!(greedy.enter(memories).unwrap_err(), Lacking::Mappings);
        let _half = greedy.enter(memories / PLUGINS_PART).unwrap();
        assert_eq!(greedy.enter(memories / PLUGINS_PART).unwrap_err(), Lacking::Mappings);
        drop(other.enter(1).unwrap());
    }
}
