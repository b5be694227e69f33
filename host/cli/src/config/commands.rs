//! `[commands]`: the log of commands, and how hosts work on it.

use std::time::Duration;

use pelton_core::command::shard;

use super::text::key::{Count, DAY, Key, Optional, Or, Size, Table, Time, seconds};
use super::text::reader::Reader;

/// The most commands that all hosts hold together.
const MOST_PENDING: u64 = 1_000_000;

static KEEP: Key<Time, Or<Duration>> = Key {
    name: "keep",
    form: seconds(60, 3_650 * DAY),
    default: Or(|| Duration::from_secs(14 * DAY)),
    example: "\"30d\"",
    doc: "How long a command and its outcome can be looked up, and how long a rejected command stays rejected when it is \
          sent again. An accepted one stays accepted for as long as there are events.",
};
static MAX_IN_FLIGHT: Key<Count<usize>, Or<usize>> = Key {
    name: "max-in-flight",
    form: Count::new(1..=65_536),
    default: Or(|| 256),
    example: "512",
    doc: "How many commands of one handler this host holds at a time.",
};
static MAX_ACK_PENDING: Key<Count<u32>, Or<u32>> = Key {
    name: "max-ack-pending",
    form: Count::new(1..=MOST_PENDING),
    default: Or(|| 1_024),
    example: "2_048",
    doc: "How many commands of one handler all hosts hold at a time. It is at least `max-in-flight`.",
};
static ACK_WAIT: Key<Time, Or<Duration>> = Key {
    name: "ack-wait",
    form: seconds(1, 3_600),
    default: Or(|| Duration::from_secs(30)),
    example: "\"1m\"",
    doc: "How long the server waits for a sign of progress before it gives a message to another host. \
          After a crash, what the host held comes again after this time.",
};
static MAX_BYTES: Key<Size, Optional> = Key {
    name: "max-bytes",
    form: Size(1 << 20..=1 << 50),
    default: Optional("no limit"),
    example: "\"10GiB\"",
    doc: "The most bytes of the log of commands. A full log refuses commands, which clients are told with 503 and `Retry-After`, until \
          older ones have ended and are older than `keep`.",
};
static DECIDE_AHEAD_FROM: Key<Count<usize>, Or<usize>> = Key {
    name: "decide-ahead-from",
    form: Count::new(2..=65_536),
    default: Or(|| shard::MIN_AHEAD),
    example: "4",
    doc: "How many commands of one entity must wait before they are decided ahead of each other and stored together. \
          On a cluster, where batches are cheap compared with single writes, a smaller number helps.",
};

pub(super) static TABLE: Table = Table {
    name: "commands",
    header: "[commands]",
    doc: "The log of commands and how it is worked on.",
    keys: &[&KEEP, &MAX_BYTES, &MAX_IN_FLIGHT, &MAX_ACK_PENDING, &ACK_WAIT, &DECIDE_AHEAD_FROM],
    tables: &[],
    free: None,
};

/// `[commands]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// The least time that a command stays in the log.
    pub keep: Duration,
    /// The most bytes of the log. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// The most commands of one handler that this process holds at a time.
    pub max_in_flight: usize,
    /// The most commands of one handler that all processes hold at a time. At least `max_in_flight`.
    pub max_ack_pending: u32,
    /// The server gives a command to another host after this time without a sign of progress.
    pub ack_wait: Duration,
    /// The least number of waiting commands of one entity that are decided ahead.
    pub decide_ahead_from: usize,
}

impl CommandSettings {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        let held = table.at(&MAX_IN_FLIGHT).map(|held| held.value);
        // All hosts together hold at least what one may hold. A default says nothing about the other key.
        let least = held.and_then(|held| u64::try_from(held).ok()).unwrap_or(1);
        let max_in_flight = held.unwrap_or_else(MAX_IN_FLIGHT.default.0);
        let pending = table.at_within(&MAX_ACK_PENDING, &Count::new(least..=MOST_PENDING));
        let pending = pending.map_or_else(MAX_ACK_PENDING.default.0, |pending| pending.value);
        Self {
            keep: table.get(&KEEP),
            max_bytes: table.at(&MAX_BYTES).and_then(|bytes| u64::try_from(bytes.value).ok()),
            max_in_flight,
            max_ack_pending: pending.max(u32::try_from(max_in_flight).unwrap_or(u32::MAX)),
            ack_wait: table.get(&ACK_WAIT),
            decide_ahead_from: table.get(&DECIDE_AHEAD_FROM),
        }
    }
}
