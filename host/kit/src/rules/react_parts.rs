//! Each part of a stored event is an input.

use super::parts::differ;
use super::{NO_SAGA, failed, not_applicable, passed};
use crate::rule::{Finding, Level, Rule};
use crate::run::Subject;
use crate::saga::World;

pub(super) static RULE: Rule = Rule {
    id: "SG-05",
    name: "react-parts",
    level: Level::Required,
    asserts: "events that share a sequence, as the parts that an upcaster makes of one, are all reacted to",
    why: "after an upcaster splits an old event, the process would miss its second part",
    mend: "tell events apart by `sequence` and `part` together, or by neither",
    after: &["AL-02", "SG-01", "SG-02"],
    test,
};

/// How many events of a stream are tried.
const EVENTS: usize = 8;
/// How many pairs of events of a stream are tried.
const WINDOWS: usize = 16;

fn test(subject: &Subject<'_>) -> Finding {
    let Some(saga) = subject.saga() else { return not_applicable(NO_SAGA) };
    let mut tried = 0;
    for stream in &subject.corpus.streams {
        for events in stream
            .windows(2)
            .take(WINDOWS)
            .chain(stream.windows(3).take(WINDOWS / 2))
            .chain(stream.chunks(EVENTS).take(2))
        {
            let made = |events: &[pelton_core::message::RecordedEvent]| {
                let mut world = World::default();
                let mut did = String::new();
                for event in events {
                    for reacted in world.event(&saga, event).ok()? {
                        let reaction = reacted.reaction.ok()?.ok()?;
                        for command in &reaction.commands {
                            did += &format!(
                                "{} {}, ",
                                command.r#type,
                                String::from_utf8(command.data.to_vec()).ok()?
                            );
                        }
                    }
                }
                for (id, instance) in &world.instances {
                    did += &format!("{id}: {}, ", String::from_utf8(instance.state.clone()).ok()?);
                }
                Some(did)
            };
            match differ(events, made) {
                Ok(true) => tried += 1,
                Ok(false) => {}
                Err((own, pairs)) => {
                    let types: Vec<_> = events.iter().map(|event| event.event.r#type.as_str()).collect();
                    let types = types.join(", ");
                    return failed(format!("{types}: where two events share a sequence, {own} → {pairs}"));
                }
            }
        }
    }
    passed(tried, "streams of events in parts", "no case has two events, or its state is not text")
}
