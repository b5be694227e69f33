//! The limits of a plugin, and the meter that counts its usage.

use std::fmt;
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::room::{Lacking, Taken};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const TABLE_ELEMENT_BYTES: usize = 8;

/// The limits of a plugin. All but `total_bytes` apply to every instance by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest component, in bytes.
    pub component_bytes: usize,
    /// The linear memories of an instance together, in bytes.
    pub memory_bytes: usize,
    /// The memories and tables of all instances of the plugin together, in bytes; by default half of the process's.
    pub total_bytes: Option<usize>,
    /// The number of linear memories of an instance. Each takes 4 GiB of the process's address space.
    pub memories: usize,
    /// The number of tables of an instance.
    pub tables: usize,
    /// The elements of an instance's tables together. An element takes 8 bytes of the host's memory.
    pub table_elements: usize,
    /// The core instances that make up one instance.
    pub core_instances: usize,
    /// The longest wall-clock time of one call, waits for a processor included. It counts from the call's first tick of
    /// a clock that ticks every 5 ms.
    pub call_time: Duration,
    /// The most bytes that one call may hand to the host, in the host's representation. It also applies to a line of
    /// the log.
    pub result_bytes: usize,
    /// The resource handles of an instance.
    pub handles: usize,
    /// The kept log lines of a call.
    pub log_lines: usize,
    /// The kept bytes of the log lines of a call.
    pub log_bytes: usize,
    /// A warm instance of a projection or saga is replaced after this many calls, so that no leak grows without end.
    pub retire_after_calls: u32,
    /// The same after this many bytes of payloads were passed to it, because some runtimes never free them.
    pub retire_after_bytes: usize,
    /// A warm instance of a projection or saga is replaced when its memories reach this many bytes. An instance that
    /// entities share takes no more of them then.
    pub retire_at_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 64 * MIB,
            memory_bytes: 64 * MIB,
            total_bytes: None,
            memories: 8,
            tables: 32,
            table_elements: 65_536,
            core_instances: 64,
            call_time: Duration::from_millis(500),
            result_bytes: 8 * MIB,
            handles: 100_000,
            log_lines: 64,
            log_bytes: 16 * KIB,
            retire_after_calls: 100_000,
            retire_after_bytes: 16 * MIB,
            retire_at_bytes: 32 * MIB,
        }
    }
}

/// Counts an instance's usage over all its memories and tables, and refuses what exceeds a limit.
///
/// A guest sees a refused growth as it would on a full machine (`memory.grow` returns -1), so that a language's own
/// collector can make room. The meter remembers the refusal, in case the guest fails because of it.
#[derive(Debug)]
pub(crate) struct Meter {
    taken: Taken,
    memory_bytes: usize,
    table_elements: usize,
    /// The size of the last permitted growth, to subtract if that growth fails.
    last_growth: usize,
    refused: Option<Refused>,
    max_memory_bytes: usize,
    max_table_elements: usize,
    max_core_instances: usize,
    max_memories: usize,
    max_tables: usize,
}

/// A growth that the meter refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Memory { limit_bytes: usize },
    Table { limit_elements: usize },
    Room(Lacking),
}

impl Refused {
    /// The key of the limit in the configuration.
    pub(crate) fn key(self) -> Option<&'static str> {
        match self {
            Self::Memory { .. } => Some("memory-bytes"),
            Self::Table { .. } => Some("table-elements"),
            Self::Room(Lacking::PluginBytes(_)) => Some("total-bytes"),
            Self::Room(_) => None,
        }
    }

    /// Whether others have what it asked for.
    pub(crate) fn is_shortage(self) -> bool {
        matches!(self, Self::Room(_))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit_bytes } => {
                write!(f, "asked for more than {} of memory", InBytes(*limit_bytes))
            }
            Self::Table { limit_elements } => {
                write!(f, "asked for more than {limit_elements} table elements")
            }
            Self::Room(lacking) => write!(f, "asked for memory while {lacking}"),
        }
    }
}

impl Meter {
    pub(crate) fn new(limits: &Limits, taken: Taken) -> Self {
        Self {
            taken,
            memory_bytes: 0,
            table_elements: 0,
            last_growth: 0,
            refused: None,
            max_memory_bytes: limits.memory_bytes,
            max_table_elements: limits.table_elements,
            max_core_instances: limits.core_instances,
            max_memories: limits.memories,
            max_tables: limits.tables,
        }
    }

    /// The size of the linear memories together, touched or not.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What the instance takes of the process's room, in bytes.
    pub(crate) fn room_bytes(&self) -> usize {
        self.taken.bytes()
    }

    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Starts a new call: forgets what an earlier one was refused.
    pub(crate) fn forget_refused(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(growth);
        if total > self.max_memory_bytes {
            self.refused = Some(Refused::Memory { limit_bytes: self.max_memory_bytes });
            return Ok(false);
        }
        if let Err(lacking) = self.taken.grow(growth) {
            self.refused = Some(Refused::Room(lacking));
            return Ok(false);
        }
        self.memory_bytes = total;
        self.last_growth = growth;
        self.taken.has_memory(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.last_growth);
        self.memory_bytes = self.memory_bytes.saturating_sub(growth);
        self.taken.shrink(growth);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.table_elements.saturating_add(growth);
        if total > self.max_table_elements {
            self.refused = Some(Refused::Table { limit_elements: self.max_table_elements });
            return Ok(false);
        }
        if let Err(lacking) = self.taken.grow(growth.saturating_mul(TABLE_ELEMENT_BYTES)) {
            self.refused = Some(Refused::Room(lacking));
            return Ok(false);
        }
        self.table_elements = total;
        self.last_growth = growth;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.last_growth);
        self.table_elements = self.table_elements.saturating_sub(growth);
        self.taken.shrink(growth.saturating_mul(TABLE_ELEMENT_BYTES));
        Ok(())
    }

    fn instances(&self) -> usize {
        self.max_core_instances
    }

    fn tables(&self) -> usize {
        self.max_tables
    }

    fn memories(&self) -> usize {
        self.max_memories
    }
}

/// A number of bytes for people: `64 MiB`, `16 KiB`, `100 bytes`.
pub(crate) struct InBytes(pub(crate) usize);

impl fmt::Display for InBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= MIB && bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_summed_over_all_memories_and_tables() {
        let taken = crate::room::Room::new(MIB).part(None).enter(1).unwrap();
        let mut meter =
            Meter::new(&Limits { memory_bytes: 10, table_elements: 10, ..Limits::default() }, taken);
        assert!(meter.memory_growing(0, 6, None).unwrap(), "the first memory");
        assert!(!meter.memory_growing(0, 6, None).unwrap(), "the second would make 12");
        assert_eq!(meter.refused().unwrap().to_string(), "asked for more than 10 bytes of memory");
        assert!(meter.memory_growing(0, 4, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert_eq!(meter.memory_bytes(), 6, "a growth that failed is not counted");
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.table_growing(0, 1, None).unwrap());
        assert_eq!(meter.refused().unwrap().to_string(), "asked for more than 10 table elements");
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(64 * MIB, "64 MiB"), (16 * KIB, "16 KiB"), (MIB + KIB, "1025 KiB"), (100, "100 bytes")]
        {
            assert_eq!(InBytes(bytes).to_string(), text);
        }
    }
}
