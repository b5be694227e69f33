//! When a message is retried, and when it is set aside.

use std::time::Duration;

use pelton_core::intake::IntakeError;
use pelton_core::plugin::{FaultKind, Plugin, PluginFault};
use pelton_core::retry::{NotProcessed, RetryPolicy, Verdict};
use pelton_core::store::Unavailable;
use proptest::prelude::*;

use crate::Native;

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    first_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(30),
};

const ASKED: Duration = Duration::from_secs(90);

fn fault(kind: FaultKind) -> NotProcessed {
    PluginFault { kind, ..Native.fault("it did something") }.into()
}

#[test]
fn a_delay_doubles_up_to_the_longest() {
    let delays: Vec<_> = (1..=10).map(|attempt| POLICY.delay(attempt).as_millis()).collect();
    assert_eq!(delays, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    assert_eq!((POLICY.delay(0), POLICY.delay(u32::MAX)), (POLICY.first_delay, POLICY.max_delay));
    let longest = RetryPolicy { first_delay: Duration::MAX, max_delay: Duration::MAX, ..POLICY };
    assert_eq!(longest.delay(u32::MAX), Duration::MAX);
}

proptest! {
    #[test]
    fn a_delay_is_never_over_the_longest_and_never_shorter_than_the_one_before(
        first in 0..10_000_000_u64, max in 0..10_000_000_u64, attempt in 0..u32::MAX,
    ) {
        let (first_delay, max_delay) = (Duration::from_millis(first), Duration::from_millis(max));
        let policy = RetryPolicy { first_delay, max_delay, ..POLICY };
        let (delay, next) = (policy.delay(attempt), policy.delay(attempt + 1));
        prop_assert!(first_delay.min(max_delay) <= delay && delay <= next && next <= max_delay);
    }
}

/// Only a plugin's failures use up attempts.
#[test]
fn what_is_nobodys_fault_is_tried_for_ever_and_what_cannot_work_is_set_aside_at_once() {
    let unavailable = Unavailable { doing: "storing".to_owned(), cause: "nobody answers".to_owned() };
    for (stop, set_aside_at) in [
        (NotProcessed::Unavailable(unavailable), None),
        (NotProcessed::Contended(8), None),
        // R12: a host that was not restarted yet made dead letters of a command that was added.
        (NotProcessed::Unreadable(IntakeError::UnknownType("paint-room".to_owned())), None),
        (NotProcessed::Unreadable(IntakeError::NotJson("no end".to_owned())), Some(1)),
        (fault(FaultKind::Refused), Some(1)),
        (fault(FaultKind::Broke), Some(POLICY.max_attempts)),
        (fault(FaultKind::RetryAfter(ASKED)), Some(POLICY.max_attempts)),
    ] {
        for attempt in [1, 2, 3, 4, 1000, u32::MAX] {
            let expected = match set_aside_at {
                Some(last) if attempt >= last => Verdict::SetAside,
                // R16: the delay that the plugin asked for was ignored.
                _ if matches!(&stop, NotProcessed::Plugin(fault) if fault.kind == FaultKind::RetryAfter(ASKED)) => {
                    Verdict::Retry(ASKED)
                }
                _ => Verdict::Retry(POLICY.delay(attempt)),
            };
            assert_eq!(POLICY.verdict(&stop, attempt), expected, "attempt {attempt}: {stop}");
        }
    }
}
