//! What is known of an entity's events beside the state that they make: where they lie, and which commands they
//! followed from.

use std::collections::HashMap;

use crate::command::backlinks::Backlinks;
use crate::command::outcome::{EventRef, Outcome, OutcomeRecord};
use crate::command::ports::{Cause, StoredEvent};
use crate::id::{CommandId, Sequence};
use crate::message::{Command, Fingerprint, RecordedEvent};

/// The past of an entity, up to its last event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityHistory {
    pub(crate) history: Backlinks,
    /// The id of the last event; empty where there is none.
    pub(crate) last_id: String,
    pub(crate) effects: HashMap<CommandId, Effect>,
}

/// The events that followed from one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) events: Vec<EventRef>,
}

impl EntityHistory {
    /// The sequence of the last event.
    #[must_use]
    pub fn at(&self) -> Sequence {
        self.history.last().unwrap_or(Sequence::NONE)
    }

    /// Where the events lie.
    #[must_use]
    pub fn history(&self) -> &Backlinks {
        &self.history
    }

    /// Takes in the event that follows the last one, and the command that it followed from.
    pub fn push(&mut self, recorded: RecordedEvent, cause: Option<Cause>) {
        self.history.push(recorded.sequence);
        self.last_id.clone_from(&recorded.event.id);
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

    /// Whether the stream goes on where this past ends, given its events of the entity from the last one known on, that
    /// one included. The error says what does not fit: it is the past of another stream, or of a stream that was
    /// restored from an older copy, or something between is missing.
    pub fn joins(&self, events: &[StoredEvent]) -> Result<(), String> {
        let (at, id) = (self.at(), &self.last_id);
        match events.first().map(|first| &first.recorded) {
            Some(first) if first.sequence == at && first.event.id == *id => {}
            Some(first) if first.sequence == at => {
                return Err(format!("the event at sequence {at} is {:?}, not {id:?}", first.event.id));
            }
            _ => return Err(format!("the stream has no event of the entity at sequence {at}")),
        }
        // Every event says how many came before it.
        let numbered = (self.history.count() - 1..).zip(events);
        for (before, event) in numbered {
            let counted = event.history.as_ref().map_or(before, Backlinks::count);
            if counted != before {
                let sequence = event.recorded.sequence;
                return Err(format!(
                    "the event at sequence {sequence} counts {counted} before it, not {before}"
                ));
            }
        }
        Ok(())
    }
}
