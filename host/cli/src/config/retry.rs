//! `[retry]`: how failures are retried.

use std::time::Duration;

use pelton_core::retry::RetryPolicy;

use super::text::key::{Count, Key, Or, Table, Time, milliseconds};
use super::text::reader::Reader;

static MAX_ATTEMPTS: Key<Count<u32>, Or<u32>> = Key {
    name: "max-attempts",
    form: Count::new(1..=1_000),
    default: Or(|| RetryPolicy::default().max_attempts),
    example: "9",
    doc: "How often a plugin may fail over a message before the message becomes a dead letter.",
};
static FIRST_DELAY: Key<Time, Or<Duration>> = Key {
    name: "first-delay",
    form: milliseconds(1, 3_600_000),
    default: Or(|| RetryPolicy::default().first_delay),
    example: "\"50ms\"",
    doc: "The wait after the first failure. It doubles with every further one.",
};
static MAX_DELAY: Key<Time, Or<Duration>> = Key {
    name: "max-delay",
    form: milliseconds(1, 86_400_000),
    default: Or(|| RetryPolicy::default().max_delay),
    example: "\"1h\"",
    doc: "The longest wait.",
};

pub(super) static TABLE: Table = Table {
    name: "retry",
    header: "[retry]",
    doc: "How failures of plugins are retried.",
    keys: &[&MAX_ATTEMPTS, &FIRST_DELAY, &MAX_DELAY],
    tables: &[],
    free: None,
};

pub(super) fn read(table: &Reader<'_>) -> RetryPolicy {
    let (first_delay, max_delay) = table.in_order(&FIRST_DELAY, &MAX_DELAY);
    RetryPolicy { max_attempts: table.get(&MAX_ATTEMPTS), first_delay, max_delay }
}
