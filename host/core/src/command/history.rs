//! What is known of an entity beside the state that its events make: where they lie, and which commands have ended.

use crate::command::backlinks::Backlinks;
use crate::command::ends::{CommandKey, End, Ends};
use crate::command::ports::{Cause, EntityMessage, Links, StoredEvent, StoredMessage};
use crate::id::{CommandId, Sequence};
use crate::message::RecordedEvent;

/// The past of an entity, up to its last message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityHistory {
    pub(crate) backlinks: Backlinks,
    /// The id of the last event; empty where there is none.
    pub(crate) last_id: String,
    pub(crate) ends: Ends,
}

impl EntityHistory {
    /// The sequence of the last event; [`Sequence::NONE`] where there is none.
    #[must_use]
    pub fn last_event(&self) -> Sequence {
        self.backlinks.last().unwrap_or(Sequence::NONE)
    }

    /// Where the events lie.
    #[must_use]
    pub fn backlinks(&self) -> &Backlinks {
        &self.backlinks
    }

    /// How this command ended, if that is known.
    pub(crate) fn end_of(&self, command: &CommandId) -> Option<End> {
        self.ends.of(command)
    }

    /// Takes in the event that follows the last one, and the command that it followed from.
    pub fn push(&mut self, event: &RecordedEvent, cause: Option<&Cause>) {
        self.backlinks.push(event.sequence);
        self.last_id.clone_from(&event.event.id);
        if let Some(cause) = cause {
            self.ends.push_event(CommandKey::of(&cause.command), event.sequence, cause.events);
        }
    }

    /// Takes in the mark of a command.
    pub fn push_mark(&mut self, command: &CommandId) {
        self.ends.push_mark(CommandKey::of(command));
    }

    /// Forgets a mark that the server keeps no longer.
    pub fn forget_mark(&mut self, command: &CommandId) {
        self.ends.forget_mark(command);
    }

    /// Whether the stream goes on where this past ends, given its events of the entity from the last one known on, that
    /// one included. The error says what does not fit: it is the past of another stream, or of a stream that was
    /// restored from an older copy, or something between is missing.
    pub fn joins(&self, events: &[StoredEvent]) -> Result<(), String> {
        let events = events.iter().map(|event| (event.sequence, event.links.as_ref(), Some(&event.body)));
        self.is_continued_by(events)
    }

    /// The same of all of the entity's messages from its last known event on. An entity without events goes on with
    /// whatever there is.
    pub fn goes_on_in(&self, messages: &[StoredMessage]) -> Result<(), String> {
        self.is_continued_by(messages.iter().map(|message| {
            let event = match &message.body {
                EntityMessage::Event(event) => Some(event),
                EntityMessage::Mark(_) => None,
            };
            (message.sequence, message.links.as_ref(), event)
        }))
    }

    fn is_continued_by<'a>(
        &self,
        messages: impl Iterator<Item = (Sequence, Option<&'a Links>, Option<&'a RecordedEvent>)>,
    ) -> Result<(), String> {
        let (at, id) = (self.last_event(), &self.last_id);
        let mut messages = messages.peekable();
        let mut before = self.backlinks.count();
        if at > Sequence::NONE {
            match messages.peek() {
                Some((_, _, Some(first))) if first.sequence == at && first.event.id == *id => {}
                Some((_, _, Some(first))) if first.sequence == at => {
                    return Err(format!("the event at sequence {at} is {:?}, not {id:?}", first.event.id));
                }
                _ => return Err(format!("the stream has no event of the entity at sequence {at}")),
            }
            before -= 1;
        }
        for (sequence, links, event) in messages {
            // Every message says how many events came before it.
            if let Some(counted) =
                links.map(|links| links.backlinks.count()).filter(|counted| *counted != before)
            {
                return Err(format!("message {sequence} counts {counted} events before it, not {before}"));
            }
            before += u64::from(event.is_some());
        }
        Ok(())
    }

    /// How many bytes it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        const FIXED_BYTES: usize = 512;
        const END_BYTES: usize = 48;
        FIXED_BYTES + self.ends.len() * END_BYTES
    }
}
