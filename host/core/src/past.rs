//! What is known of an entity's events beside the state that they make: where they lie, and which commands they
//! followed from.

use std::collections::HashMap;

use crate::history::History;
use crate::id::{CommandId, Sequence};
use crate::message::{Command, Fingerprint};
use crate::outcome::{EventRef, Outcome, OutcomeRecord};
use crate::ports::StoredEvent;

/// The past of an entity, up to its last event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    history: History,
    effects: HashMap<CommandId, Effect>,
}

/// The events that followed from one command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Effect {
    fingerprint: Fingerprint,
    events: Vec<EventRef>,
}

impl Past {
    /// The sequence of the last event.
    #[must_use]
    pub fn at(&self) -> Sequence {
        self.history.last().unwrap_or(Sequence::NONE)
    }

    /// Where the events lie.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes in the event that follows the last one.
    pub fn push(&mut self, event: StoredEvent) {
        let StoredEvent { recorded, cause, .. } = event;
        self.history.push(recorded.sequence);
        let Some(cause) = cause else { return };
        let event = EventRef {
            id: recorded.event.id,
            r#type: recorded.event.r#type,
            version: recorded.event.version,
            stream: recorded.stream.to_string(),
            sequence: recorded.sequence,
        };
        let effect = self.effects.entry(cause.command);
        effect
            .or_insert_with(|| Effect { fingerprint: cause.fingerprint, events: Vec::new() })
            .events
            .push(event);
    }

    /// The outcome of the command with this one's id, if events followed from it.
    #[must_use]
    pub fn effect_of(&self, command: &Command, decided_by: &str) -> Option<OutcomeRecord> {
        let effect = self.effects.get(&command.id)?;
        let outcome = Outcome::Accepted { events: effect.events.clone() };
        Some(OutcomeRecord {
            fingerprint: effect.fingerprint.clone(),
            ..OutcomeRecord::new(command, decided_by, outcome)
        })
    }
}
