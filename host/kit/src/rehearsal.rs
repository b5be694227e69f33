//! A rehearsal: a version decides commands that were sent, on entities as they are, before it runs.
//!
//! Where it takes entities over from the version before, it gets each in both ways: from that version's snapshot, and folded
//! from all events. If it decides otherwise, its states mean something else, and its `state-version` has to be raised.

use pelton_core::command::ports::Isolation;
use pelton_core::message::{Command, RecordedEvent};
use pelton_wasm::LoadedPlugin;

use crate::cases::shown;
use crate::guest::{Answer, Handler, History, Meter, Projection, Saga};
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
        let snapshot =
            takes_over.and_then(|old| old.folded(Isolation::Alone, &history).ok()?.snapshot().ok().flatten());
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
            let Some(snapshot) = &snapshot else { continue };
            let Some(restored) = restored(&new, entity, snapshot, command) else { continue };
            *rehearsed.restored.get_or_insert_default() += 1;
            if shown(&restored) != shown(&answer) {
                let (restored, answer) = (shown(&restored), shown(&answer));
                rehearsed.differs.push(format!("{}: {restored}, but from its events {answer}", place()));
            }
        }
    }
    rehearsed
}

/// What it decides on the snapshot. `None`: it refuses the snapshot, and the host folds the events.
fn restored(handler: &Handler<'_>, entity: &str, snapshot: &[u8], command: &Command) -> Option<Answer> {
    match handler.restore(entity, snapshot, Isolation::Alone) {
        Ok(Ok(mut instance)) => Some(instance.decide(command)),
        Ok(Err(_)) => None,
        Err(fault) => Some(Err(fault)),
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
            if let Err(Stop::Broke(fault) | Stop::Wrong(fault)) = folded
                && !matches!(old.and_then(folds), Some(Err(Stop::Broke(_) | Stop::Wrong(_))))
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
