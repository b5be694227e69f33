//! Replays sagas: each event is correlated, and reacted to on the state of the version to compare with. Timers and
//! outcomes are not in the stream of events, so reactions to them are not replayed.

use super::{Difference, Replayed, events};
use crate::guest::Saga;
use crate::recording::Recording;
use crate::saga::World;

pub(super) fn replay(new: &Saga<'_>, old: Option<&Saga<'_>>, recording: &Recording, replayed: &mut Replayed) {
    let mut world = World::default();
    for event in events(recording) {
        let place = || format!("#{}", event.sequence);
        let reacted = match world.event(old.unwrap_or(new), event) {
            Ok(reacted) => reacted,
            Err(_) if old.is_some() => {
                replayed.not_comparable += 1;
                continue;
            }
            Err(what) => {
                let what = || Difference {
                    place: place(),
                    what: event.event.r#type.clone(),
                    expected: "instances".to_owned(),
                    got: what,
                };
                replayed.differs(what);
                continue;
            }
        };
        if let Some(old) = old {
            let (expected, got) = (old.correlate(event), new.correlate(event));
            if format!("{expected:?}") != format!("{got:?}") {
                let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
                let what = format!("{}: the instances that it concerns", event.event.r#type);
                replayed.differs(|| Difference { place: place(), what, expected, got });
                continue;
            }
        }
        for of_instance in &reacted {
            let again = match old {
                Some(_) => of_instance.again(new),
                None => of_instance.reaction.clone(),
            };
            let (expected, got) = (sent(&of_instance.reaction), sent(&again));
            let is_broken = matches!(again, Err(_) | Ok(Err(_)));
            match old {
                Some(_) if expected == got => replayed.same(),
                None if !is_broken => replayed.same(),
                _ => replayed.differs(|| Difference {
                    place: place(),
                    what: of_instance.shown(),
                    expected: if old.is_some() { expected } else { "a reaction".to_owned() },
                    got,
                }),
            }
        }
    }
}

/// What a reaction shows to others: its commands and timers, and whether the instance goes on.
fn sent(reaction: &crate::saga::Done) -> String {
    match reaction {
        Ok(Ok(reaction)) => {
            let commands = reaction
                .commands
                .iter()
                .map(|command| format!("{} {}", command.r#type, String::from_utf8_lossy(&command.data)));
            let timers = reaction.timers.iter().map(|timer| format!("{timer:?}"));
            let goes_on = if reaction.state.is_some() { "goes on" } else { "ends" };
            commands.chain(timers).chain([goes_on.to_owned()]).collect::<Vec<_>>().join(", ")
        }
        Ok(Err(failure)) => format!("a failure: {failure:?}"),
        Err(fault) => format!("a fault: {}", fault.what),
    }
}
