//! Calls leave no memory behind.

use pelton_core::command::ports::Isolation;
use pelton_wasm::LoadedPlugin;

use super::{NO_EVENTS, failed, not_tested};
use crate::guest::{Handler, Projection, Saga};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::view::{self, View};

pub(super) static RULE: Rule = Rule {
    id: "AL-06",
    name: "memory-steady",
    level: Level::Required,
    asserts: "100,000 calls leave less memory behind than `retire-at-bytes`, at which the host replaces an instance",
    why: "an instance that fills up is replaced again and again, and one with a busy entity runs into its limit of memory",
    mend: "give back what a call has taken: drop what nobody uses, bound what is kept",
    after: &["AL-02"],
    test,
};

/// What is left behind is extrapolated to this many calls.
const CALLS: u64 = 100_000;

fn test(subject: &Subject<'_>) -> Finding {
    let activation = subject.suite.activation.clone();
    let Ok(plugin) = subject.suite.sandbox.load_again(subject.plugin, activation) else {
        return not_tested("it cannot be loaded again");
    };
    let limit = u64::try_from(subject.suite.activation.limits.retire_at_bytes).unwrap_or(u64::MAX);
    let mut worst: Option<(u64, &str)> = None;
    for (role, grown) in [
        ("handler", of_handler(subject, &plugin)),
        ("projection", of_projection(subject, &plugin)),
        ("saga", of_saga(subject, &plugin)),
    ] {
        if let Some(grown) = grown {
            worst = worst.max(Some((grown, role)));
        }
    }
    match worst {
        None => not_tested(NO_EVENTS),
        Some((grown, role)) if grown > limit => failed(format!(
            "calls of the {role} leave {} bytes behind each: {} MiB after {CALLS} calls, and an instance is replaced at {} MiB",
            grown / CALLS,
            grown >> 20,
            limit >> 20
        )),
        Some((grown, _)) => {
            Finding::Passed { tried: format!("{} MiB more after {CALLS} calls", grown >> 20) }
        }
    }
}

/// Makes calls, and extrapolates how many bytes [`CALLS`] of them leave behind. The first third is not counted: it may
/// fill what is kept for good.
fn grown(subject: &Subject<'_>, plugin: &LoadedPlugin, mut round: impl FnMut() -> u64) -> Option<u64> {
    let wanted = u64::from(subject.suite.effort.calls);
    let (mut calls, mut marks) = (0, Vec::new());
    for part in 1..=3 {
        while calls < wanted * part / 3 {
            match round() {
                0 => return None,
                more => calls += more,
            }
        }
        marks.push((calls, plugin.room_bytes() as u64));
    }
    let rate = |from: usize, to: usize| {
        let ((calls, bytes), (later, more)) = (marks[from], marks[to]);
        more.saturating_sub(bytes) * CALLS / (later - calls).max(1)
    };
    // A leak goes on; a heap that reaches its size stops growing.
    Some(rate(0, 1).min(rate(1, 2)))
}

fn of_handler(subject: &Subject<'_>, plugin: &LoadedPlugin) -> Option<u64> {
    let handler = Handler::new(plugin.handler()?, subject.meter);
    let decisions = &subject.corpus.decisions;
    let first = decisions.first()?;
    let mut holder = handler.folded(Isolation::Shared, &first.history).ok()?;
    grown(subject, plugin, || {
        let mut calls = 0;
        for decision in decisions.iter().take(50) {
            // An error replaces the instance, and frees what was left behind.
            let Ok(mut entity) = handler.folded(Isolation::Shared, &decision.history) else { continue };
            let _ = entity.decide(&decision.command);
            let _ = entity.snapshot();
            let _ = holder.decide(&decision.command);
            calls += 5;
        }
        calls
    })
}

fn of_projection(subject: &Subject<'_>, plugin: &LoadedPlugin) -> Option<u64> {
    let projection = Projection::new(plugin.projection()?, subject.meter);
    grown(subject, plugin, || {
        let mut calls = 0;
        for stream in subject.corpus.streams.iter().take(8) {
            let mut view = View::new();
            for event in stream.iter().take(20) {
                let _ = view::fold(&projection, &mut view, [std::slice::from_ref(event)]);
                calls += 2;
            }
        }
        calls
    })
}

fn of_saga(subject: &Subject<'_>, plugin: &LoadedPlugin) -> Option<u64> {
    let saga = Saga::new(plugin.saga()?, subject.meter);
    grown(subject, plugin, || {
        let mut calls = 0;
        for event in subject.corpus.streams.iter().flatten().take(50) {
            let _ = saga.correlate(event);
            calls += 1;
        }
        for reacted in subject.corpus.reactions.iter().take(50) {
            let _ = reacted.again(&saga);
            calls += 1;
        }
        calls
    })
}
