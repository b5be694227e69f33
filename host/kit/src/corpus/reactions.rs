//! Reactions of a saga: inputs that may occur, with the answers of fresh instances.

use std::time::Duration;

use pelton_core::saga::model::CommandResult;

use super::Corpus;
use super::decisions::ENOUGH;
use crate::guest::{Saga, broke};
use crate::inputs::{START, later};
use crate::run::Effort;
pub(crate) use crate::saga::Reacted;
use crate::saga::{World, takes_outcomes};

/// The most timers, and the most commands, that are tried at a time. A stream ends with as many rounds of them.
const SENT: usize = 4;

/// Drives the saga over all streams of the corpus. In between, timers go off and commands are accepted. The rule
/// `inputs-any-order` tries other inputs.
pub(crate) fn explore(corpus: &mut Corpus, saga: &Saga<'_>, effort: &Effort) {
    let outcomes = takes_outcomes(saga.descriptor());
    let mut all = Vec::new();
    for stream in &corpus.streams {
        let mut world = World::default();
        for event in stream {
            let Ok(reacted) = world.event(saga, event) else { continue };
            let sent = world.sent.len();
            all.extend(reacted);
            let broken =
                all.iter().filter(|reacted: &&Reacted| reacted.reaction.as_ref().is_err_and(broke)).count();
            if all.len() >= effort.decisions || broken >= ENOUGH {
                break;
            }
            // Each timer and outcome that may come next is tried in a world of its own.
            let now = later(event.recorded_at, Duration::from_secs(1));
            for (instance, timer) in world.timers().into_iter().take(SENT) {
                all.extend(world.clone().timer(saga, &instance, &timer.id, now));
            }
            if outcomes {
                for sent in world.sent.iter().skip(sent.saturating_sub(SENT)) {
                    let accepted = CommandResult::Accepted(vec![format!("{}:0", sent.id)]);
                    all.extend(world.clone().outcome(saga, sent, accepted, now));
                }
            }
        }
        // Then the same world goes on: timers go off, and commands are accepted.
        for _ in 0..SENT {
            for (instance, timer) in world.timers().into_iter().take(SENT) {
                all.extend(world.timer(
                    saga,
                    &instance,
                    &timer.id,
                    later(START, Duration::from_secs(86_400 * 365)),
                ));
            }
            if outcomes {
                for sent in std::mem::take(&mut world.sent).into_iter().take(SENT) {
                    let result = CommandResult::Accepted(vec!["event:0".to_owned()]);
                    all.extend(world.outcome(saga, &sent, result, later(START, Duration::from_secs(1))));
                }
            }
        }
        if all.len() >= effort.decisions {
            break;
        }
    }
    all.truncate(effort.decisions);
    corpus.reactions = all;
}
