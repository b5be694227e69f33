//! A rehearsal: before a version runs, it decides earlier commands on the entities as they are.
//!
//! If it takes entities over from the version before, it decides on each in several ways: restored from that version's
//! last snapshot, from an older one with the events since, and folded from all events. If the decisions differ, its states
//! mean something else, and its `state-version` has to be raised.

use pelton_core::command::ports::Isolation;
use pelton_core::message::{Command, RecordedEvent};
use pelton_wasm::LoadedPlugin;

use crate::cases::shown;
use crate::guest::{Answer, Handler, History, Projection, Saga};
use crate::meter::Meter;
use crate::view::{self, Stop, View};

/// An entity as it is, and commands on it that were sent.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The entity's id.
    pub entity: String,
    /// Its events, all of them.
    pub events: Vec<RecordedEvent>,
    /// The commands.
    pub commands: Vec<Command>,
}

/// What came of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// How many commands were decided, and events folded or correlated.
    pub tried: usize,
    /// Where the version broke and the one before did not.
    pub broke: Vec<String>,
    /// How many commands were decided on a state of the version before. `None`: it takes none over.
    pub restored: Option<usize>,
    /// Where it decided otherwise on such a state.
    pub differs: Vec<String>,
}

/// Has a handler decide the commands. A plugin without the role does nothing.
#[must_use]
pub fn of_handler(new: &LoadedPlugin, old: Option<&LoadedPlugin>, samples: &[Sample]) -> Rehearsed {
    let meter = Meter::default();
    let mut rehearsed = Rehearsed::default();
    let Some(new) = new.handler().map(|new| Handler::new(new, &meter)) else { return rehearsed };
    let old = old.and_then(LoadedPlugin::handler).map(|old| Handler::new(old, &meter));
    let takes_over = old.as_ref().filter(|old| {
        let (was, is) = (old.descriptor(), new.descriptor());
        (&was.identity.name, was.state_version) == (&is.identity.name, is.state_version)
    });
    for Sample { entity, events, commands } in samples {
        let history = History { entity: entity.clone(), events: events.clone() };
        let handed_on: Vec<_> = takes_over.map_or_else(Vec::new, |old| {
            ends_of_snapshots(events.len()).filter_map(|end| HandedOn::by(old, entity, events, end)).collect()
        });
        for command in commands {
            rehearsed.tried += 1;
            let place = || format!("{} {} on {entity}", command.r#type, command.id);
            let answer = new.reference(&history, command);
            if let Err(fault) = &answer {
                let before = old.as_ref().map(|old| old.reference(&history, command));
                if !matches!(before, Some(Err(_))) {
                    rehearsed.broke.push(format!("{}: {}", place(), fault.what));
                }
                continue;
            }
            let restored: Vec<_> =
                handed_on.iter().filter_map(|state| state.decided(&new, entity, command)).collect();
            if restored.is_empty() {
                continue;
            }
            *rehearsed.restored.get_or_insert_default() += 1;
            if let Some(other) = restored.iter().find(|restored| shown(restored) != shown(&answer)) {
                let (other, answer) = (shown(other), shown(&answer));
                rehearsed.differs.push(format!("{}: {other}, but from its events {answer}", place()));
            }
        }
    }
    rehearsed
}

/// After how many of so many events snapshots are taken: after all, and after the half, so that the others are folded on one.
fn ends_of_snapshots(events: usize) -> impl Iterator<Item = usize> {
    std::iter::once(events).chain((events > 0).then_some(events / 2))
}

/// An entity as the version before hands it on.
struct HandedOn<'e> {
    snapshot: Vec<u8>,
    /// The events that it does not know.
    tail: &'e [RecordedEvent],
}

impl<'e> HandedOn<'e> {
    /// `None`: the version before gives no snapshot.
    fn by(old: &Handler<'_>, entity: &str, events: &'e [RecordedEvent], end: usize) -> Option<Self> {
        let (known, tail) = events.split_at(end);
        let history = History { entity: entity.to_owned(), events: known.to_vec() };
        let snapshot = old.folded(Isolation::Alone, &history).ok()?.snapshot().ok()??;
        Some(Self { snapshot, tail })
    }

    /// What a version decides on it. `None`: it refuses the snapshot, and the host folds the events.
    fn decided(&self, new: &Handler<'_>, entity: &str, command: &Command) -> Option<Answer> {
        match new.restore(entity, &self.snapshot, Isolation::Alone) {
            Ok(Ok(mut instance)) => Some(instance.evolve(self.tail).and_then(|()| instance.decide(command))),
            Ok(Err(_)) => None,
            Err(fault) => Some(Err(fault)),
        }
    }
}

/// Has a projection fold events, and a saga correlate them.
#[must_use]
pub fn of_readers(new: &LoadedPlugin, old: Option<&LoadedPlugin>, events: &[RecordedEvent]) -> Rehearsed {
    let meter = Meter::default();
    let mut rehearsed = Rehearsed::default();
    for event in events {
        let event = std::slice::from_ref(event);
        let folds = |plugin: &LoadedPlugin| {
            let projection = Projection::new(plugin.projection()?, &meter);
            let reads = event[0].event.is_of(&projection.descriptor().events);
            reads.then(|| view::fold(&projection, &mut View::new(), [event]))
        };
        let correlates = |plugin: &LoadedPlugin| {
            let saga = Saga::new(plugin.saga()?, &meter);
            event[0].event.is_of(&saga.descriptor().events).then(|| saga.correlate(&event[0]))
        };
        let what = |fault: &str| format!("{} #{}: {fault}", event[0].event.r#type, event[0].sequence);
        if let Some(folded) = folds(new) {
            rehearsed.tried += 1;
            // A view without what came before may have it say that it cannot; it does not have it break.
            if let Err(Stop::Broke(fault) | Stop::Wrong(fault) | Stop::Unusable(fault)) = folded
                && !matches!(
                    old.and_then(folds),
                    Some(Err(Stop::Broke(_) | Stop::Wrong(_) | Stop::Unusable(_)))
                )
            {
                rehearsed.broke.push(what(&fault));
            }
        }
        if let Some(correlated) = correlates(new) {
            rehearsed.tried += 1;
            if let Err(fault) = correlated
                && !matches!(old.and_then(correlates), Some(Err(_)))
            {
                rehearsed.broke.push(what(&fault.what));
            }
        }
    }
    rehearsed
}
