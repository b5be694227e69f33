//! Streams of events for projections and sagas: those of cases, those that schemas allow, and mixtures.

use fastrand::Rng;
use pelton_core::id::Sequence;
use pelton_core::message::{EventType, RecordedEvent};
use pelton_core::time::Timestamp;
use pelton_wasm::{LoadedPlugin, SchemaKind};

use super::of_schema;
use super::variants::{Pool, Texts};
use crate::inputs::{self, START};

/// How many streams are mixed from others.
const MIXED: usize = 10;
/// The most events of a stream that is made from others.
const LONGEST: usize = 120;
/// How many changed events are made of one.
const OF_AN_EVENT: usize = 12;

/// The events with the sequences 1, 2, 3, …
pub(crate) fn renumbered(mut events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
    for (event, at) in events.iter_mut().zip(1..) {
        event.sequence = Sequence(at);
        event.part = 0;
        event.event.id = format!("given-{at}:0");
    }
    events
}

/// Streams of events of these types. The streams of cases come first.
pub(crate) fn streams(
    plugin: &LoadedPlugin,
    reads: &[EventType],
    given: &[Vec<RecordedEvent>],
    random: &mut Rng,
) -> Vec<Vec<RecordedEvent>> {
    let of_cases: Vec<Vec<RecordedEvent>> = given
        .iter()
        .map(|events| events.iter().filter(|event| event.event.is_of(reads)).cloned().collect::<Vec<_>>())
        .filter(|events| !events.is_empty())
        .collect();
    let mut all = of_cases.clone();
    let mut made = Vec::new();
    for EventType { r#type, version } in reads {
        for data in of_schema(plugin, SchemaKind::Event, r#type, *version, random) {
            made.push(inputs::event_of(r#type, *version, "1", data, START, 1));
        }
    }
    if !made.is_empty() {
        all.push(renumbered(made.clone()));
        random.shuffle(&mut made);
        all.push(renumbered(made));
    }
    if all.is_empty() {
        return all;
    }
    // The streams in a row, then mixtures in which some events have one changed value.
    let everything: Vec<RecordedEvent> = all.concat();
    all.push(renumbered(everything.iter().take(LONGEST).cloned().collect()));
    let pool = Pool::of(everything.iter().map(|event| &event.event.data), Texts::Keys);
    let mut changed = Vec::new();
    for EventType { r#type, version } in reads {
        let of_type =
            |event: &&RecordedEvent| event.event.r#type == *r#type && event.event.version == *version;
        for event in everything.iter().filter(of_type).take(3) {
            for data in pool.variants(&event.event.data, OF_AN_EVENT, random) {
                let mut event = event.clone();
                event.event.data = data;
                changed.push(event);
            }
        }
    }
    random.shuffle(&mut changed);
    changed.truncate(LONGEST);
    all.push(renumbered(changed));
    for _ in 0..MIXED {
        let mut mixed = Vec::new();
        let mut parts: Vec<_> = (0..random.usize(2..=4))
            .filter_map(|_| random.choice(&of_cases).or(random.choice(&all)).cloned())
            .map(|events| events.into_iter().peekable())
            .collect();
        while mixed.len() < LONGEST && parts.iter_mut().any(|part| part.peek().is_some()) {
            let at = random.usize(0..parts.len());
            if let Some(mut event) = parts[at].next() {
                if random.u32(0..3) == 0
                    && let Some(data) = pool.variants(&event.event.data, 1, random).pop()
                {
                    event.event.data = data;
                }
                // Writers' clocks differ, and no time is a whole second.
                let time = START.0 + random.u64(0..40 * 86_400 * 1_000_000_000);
                event.event.time = Some(Timestamp(time));
                let n = mixed.len() as u64;
                event.recorded_at = Timestamp(START.0 + n * 61_234_567_891 + random.u64(0..1_000_000_000));
                mixed.push(event);
            }
        }
        all.push(renumbered(mixed));
    }
    all
}
