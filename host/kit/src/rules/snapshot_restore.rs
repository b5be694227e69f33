//! A snapshot holds everything that decisions depend on.

use pelton_core::command::ports::Isolation;
use pelton_core::message::Command;

use super::{NO_HANDLER, Trial, differs, not_applicable, over_decisions, same};
use crate::guest::{Answer, Handler, History};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-09",
    name: "snapshot-restore",
    level: Level::Required,
    asserts: "restored from its snapshot, in any instance, an entity decides as before, also after more events, and from a snapshot of what was restored",
    why: "an entity that is loaded from a snapshot, or handed on to another version, would decide on a state that never was",
    mend: "put everything that `decide` or `evolve` reads into the snapshot",
    after: &["AL-02", "CH-01", "CH-03", "CH-10"],
    test,
};

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let gives = subject.corpus.histories.iter().chain(&subject.corpus.long).any(|history| {
        let snapshot = handler.folded(Isolation::Shared, history).and_then(|mut entity| entity.snapshot());
        !matches!(snapshot, Ok(None))
    });
    if !gives {
        return not_applicable("the plugin gives no snapshots");
    }
    over_decisions(
        subject,
        "decisions from snapshots",
        "no case has a command",
        |history, command, expected| {
            let last = history.events.len();
            let mut held = Trial::Skipped;
            for at in [last, last / 2, 0] {
                match from(&handler, history, command, expected, at) {
                    Ok(true) => held = Trial::Held,
                    Ok(false) => {}
                    Err(how) => return Trial::Broken(how),
                }
            }
            held
        },
    )
}

/// Compares decisions after a restore from a snapshot that was taken after `at` events. `false` if there is none.
fn from(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    expected: &Answer,
    at: usize,
) -> Result<bool, String> {
    let (first, rest) = (history.first(at), &history.events[at..]);
    let Ok(mut entity) = handler.folded(Isolation::Shared, &first) else { return Ok(false) };
    let snapshot = entity.snapshot().map_err(|fault| format!("its snapshot: {}", fault.what))?;
    let Some(mut snapshot) = snapshot else { return Ok(false) };
    let of = history.events.len();
    for (isolation, where_) in
        [(Isolation::Alone, "a fresh instance"), (Isolation::Shared, "the same instance")]
    {
        let restored = handler.restore(&history.entity, &snapshot, isolation).map_err(|fault| fault.what);
        let mut restored = restored
            .and_then(|restored| restored)
            .map_err(|why| format!("it does not take its own snapshot back in {where_}: {why}"))?;
        let again = restored.snapshot();
        let answer = restored.evolve(rest).and_then(|()| restored.decide(command));
        if !same(expected, &answer) {
            return Err(format!(
                "restored in {where_} from a snapshot after {at} of {of} events, it decides {}",
                differs(expected, &answer)
            ));
        }
        // The next entity is restored from the snapshot of this one.
        match again {
            Ok(Some(again)) => snapshot = again,
            Ok(None) => return Err("restored, it gives no snapshot any more".to_owned()),
            Err(fault) => return Err(format!("the snapshot of what was restored: {}", fault.what)),
        }
    }
    Ok(true)
}
