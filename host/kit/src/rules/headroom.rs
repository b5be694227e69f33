//! What cases have a plugin do is far from its limits.

use std::time::Duration;

use super::{NO_EVENTS, failed, not_tested};
use crate::meter::Share;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "AL-07",
    name: "headroom",
    level: Level::Recommended,
    asserts: "with what cases and schemas say, and what follows from it, no call takes more than half of a limit: of the time of a call, of an instance's memory, or of the bytes of a decision, a state or a value",
    why: "in production histories are longer, data are larger and machines are busy: what is near a limit here is beyond it there, and becomes a dead letter",
    mend: "do less in a call, keep less in a state, or raise the limit in the configuration",
    after: &["AL-02"],
    test,
};

/// The part of a limit, in percent, above which a plugin has no headroom.
const ENOUGH_PERCENT: u128 = 50;

fn test(subject: &Subject<'_>) -> Finding {
    let usage = subject.meter.so_far();
    let Some(largest) = subject.meter.largest() else { return not_tested(NO_EVENTS) };
    let limits = &subject.suite.activation.limits;
    let memory = Share {
        what: "an instance's memory",
        bytes: subject.plugin.largest_memory_bytes().max(subject.fresh.largest_memory_bytes()),
        limit_bytes: limits.memory_bytes,
    };
    let time = usage.longest.as_nanos() * 100 / limits.call_time.as_nanos().max(1);
    if time > ENOUGH_PERCENT {
        let (took, limit) = (usage.longest, limits.call_time);
        return failed(format!("a call of {} took {} of {}", usage.function, millis(took), millis(limit)));
    }
    for share in [memory, largest] {
        if share.percent() > ENOUGH_PERCENT {
            return failed(format!("{} had {} of {}", share.what, kib(share.bytes), kib(share.limit_bytes)));
        }
    }
    let tried = format!("{time} % of the time, {} % of the memory", memory.percent());
    Finding::Passed { tried: format!("{tried}, {} % of {}", largest.percent(), largest.what) }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}
