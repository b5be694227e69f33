//! `[cache]`: the live entities of each handler.

use pelton_core::command::entity::CacheLimits;

use super::text::key::{Count, Key, Or, Size, Table};
use super::text::reader::Reader;

static ENTITIES: Key<Count<usize>, Or<usize>> = Key {
    name: "entities",
    form: Count::new(1..=10_000_000),
    default: Or(|| CacheLimits::default().entities),
    example: "1_000",
    doc: "How many entities each handler keeps. With `isolation = \"entity\"` each takes a few memory mappings of the \
          process, so `vm.max_map_count` bounds the number too.",
};
static BYTES: Key<Size, Or<usize>> = Key {
    name: "bytes",
    form: Size(1 << 20..=1 << 40),
    default: Or(|| CacheLimits::default().bytes),
    example: "\"256MiB\"",
    doc: "How many bytes of memory the entities of each handler take.",
};

pub(super) static TABLE: Table = Table {
    name: "cache",
    header: "[cache]",
    doc: "The entities that each handler keeps ready for their next command. One that is not kept is loaded again.",
    keys: &[&ENTITIES, &BYTES],
    tables: &[],
    free: None,
};

pub(super) fn read(table: &Reader<'_>) -> CacheLimits {
    CacheLimits { entities: table.get(&ENTITIES), bytes: table.get(&BYTES) }
}
