//! It does not matter how events are split over calls.

use fastrand::Rng;
use pelton_core::command::ports::Isolation;
use pelton_core::message::{Command, RecordedEvent};

use super::{NO_HANDLER, Trial, differs, failed, not_applicable, on, over_decisions, same};
use crate::guest::{Answer, Handler, History};
use crate::inputs;
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;

pub(super) static RULE: Rule = Rule {
    id: "CH-03",
    name: "fold-split",
    level: Level::Required,
    asserts: "events folded one by one, all at once or in any pieces lead to the same decisions",
    why: "the host folds what it loads at once and what it stores one by one: hosts would decide differently",
    mend: "treat each event by itself in `evolve`, in the order of the list",
    after: &["AL-02", "CH-01", "CH-07"],
    test,
};

/// How many random ways of cutting a history are tried.
const CUTS: usize = 2;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(handler) = subject.handler() else { return not_applicable(NO_HANDLER) };
    let seed = subject.suite.seed;
    let found = over_decisions(
        subject,
        "histories, cut and whole",
        "no case gives a handler two events; add one",
        |history, command, whole| {
            // The history with the command's events is tried, too.
            let mut longer = history.clone();
            if let Ok(Ok(events)) = whole {
                longer.events.extend(inputs::stored(command, events, &history.events));
            }
            let decided = handler.reference(&longer, command);
            let mut held = Trial::Skipped;
            for (history, whole) in [(history, whole), (&longer, &decided)] {
                if history.events.len() < 2 {
                    continue;
                }
                let mut random = Rng::with_seed(seed ^ history.events.len() as u64);
                let mut cuts = vec![history.events.chunks(1).collect::<Vec<_>>()];
                cuts.extend((0..CUTS).map(|_| pieces(&history.events, &mut random)));
                if let Some(broken) =
                    cuts.iter().find_map(|pieces| cut(&handler, history, command, whole, pieces))
                {
                    return broken;
                }
                held = Trial::Held;
            }
            held
        },
    );
    let (Finding::Passed { tried }, Some(long)) = (&found, &subject.corpus.long) else { return found };
    // The long history may have more events than one call of `evolve` gets.
    for decision in subject.corpus.decisions.iter().filter(|d| d.history.entity == long.entity).take(2) {
        let whole = handler.reference(long, &decision.command);
        for size in [1, long.events.len().div_ceil(2)] {
            let pieces: Vec<_> = long.events.chunks(size).collect();
            if let Some(Trial::Broken(how)) = cut(&handler, long, &decision.command, &whole, &pieces) {
                return failed(format!("{}: {how}", on(&decision.command, long)));
            }
        }
    }
    Finding::Passed { tried: format!("{tried}, the longest of {} events", long.events.len()) }
}

fn pieces<'a>(events: &'a [RecordedEvent], random: &mut Rng) -> Vec<&'a [RecordedEvent]> {
    let mut rest = events;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(random.usize(1..=rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn cut(
    handler: &Handler<'_>,
    history: &History,
    command: &Command,
    whole: &Answer,
    pieces: &[&[RecordedEvent]],
) -> Option<Trial> {
    let answer = handler.create(&history.entity, Isolation::Alone).and_then(|mut entity| {
        pieces.iter().try_for_each(|piece| entity.evolve(piece))?;
        entity.decide(command)
    });
    (!same(whole, &answer)).then(|| {
        let count = pieces.len();
        Trial::Broken(format!(
            "folded in {count} pieces and not at once, it decides {}",
            differs(whole, &answer)
        ))
    })
}
