//! How a command ended, found where it ended.

use super::{CommandFlow, Wanted};
use crate::cloudevents::CORRELATION_ID;
use crate::command::ends::End;
use crate::command::entity::LiveEntity;
use crate::command::outcome::{Answer, EventRef, Mark, Outcome, OutcomeRecord};
use crate::command::ports::{
    CommandStore, EntityMessage, HandlerPlugin, Stored, StoredEvent, StoredMark, StoredMessage,
};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::Command;
use crate::retry::NotProcessed;

/// The look-up of a command's mark, which is made once: a mark that is stored after it makes the append conflict.
#[derive(Debug)]
pub(super) enum MarkLookUp {
    NotYet,
    Found(Box<StoredMark>),
    Done,
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// The answer to the command, if it has ended: known from the entity's history, or from its mark where it may have one
    /// that the history does not know.
    pub(super) async fn known_end(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
        wanted: Wanted<'_>,
        mark: &mut MarkLookUp,
    ) -> Result<Option<Answer>, NotProcessed> {
        if matches!(mark, MarkLookUp::NotYet) && entity.may_have_marked(command) {
            Box::pin(self.learn_marks(entity, command)).await?;
        }
        let found = match entity.history().end_of(&command.id) {
            Some(End::Events { first, count }) => return self.accepted(command, first, count).await,
            Some(End::Mark) => self.store.mark(&command.entity, &command.id).await?,
            None => match std::mem::replace(mark, MarkLookUp::Done) {
                MarkLookUp::Found(mark) => Some(*mark),
                MarkLookUp::NotYet if entity.may_have_marked(command) => {
                    self.store.mark(&command.entity, &command.id).await?
                }
                MarkLookUp::NotYet | MarkLookUp::Done => None,
            },
        };
        match found {
            Some(mark) => self.marked(command, wanted, mark).await,
            None => {
                entity.history_mut().forget_mark(&command.id);
                Ok(None)
            }
        }
    }

    /// Lists the marks of a live entity, for a command that may have one that the entity does not know. After that no
    /// command needs a look-up: what is marked later lies behind the entity's last message.
    pub(super) async fn learn_marks(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<(), NotProcessed> {
        if let Some(marks) = self.store.marks(&command.entity, entity.last_message()).await? {
            entity.knows_marks(&marks);
        }
        Ok(())
    }

    async fn marked(
        &self,
        command: &Command,
        wanted: Wanted<'_>,
        Stored { sequence, body: mark, .. }: StoredMark,
    ) -> Result<Option<Answer>, NotProcessed> {
        let is_retried = matches!(wanted, Wanted::Retry) && mark.fingerprint == command.fingerprint;
        if is_retried && !mark.outcome.is_final() {
            return Ok(None);
        }
        let events = match mark.outcome.event_count() {
            0 => Vec::new(),
            count => {
                let first = Sequence(sequence.0.saturating_sub(u64::from(count)));
                self.store.events(&command.entity, first, count).await?
            }
        };
        Ok(Some(Answer::Ended(marked_record(mark, &events).answer_to(command))))
    }

    async fn accepted(
        &self,
        command: &Command,
        first: Sequence,
        count: u32,
    ) -> Result<Option<Answer>, NotProcessed> {
        let events = self.store.events(&command.entity, first, count).await?;
        Ok(accepted_record(command, &events).map(|record| Answer::Ended(record.answer_to(command))))
    }
}

/// The record of a command that ended with a mark, given the events directly before the mark that belong to it.
#[must_use]
pub fn marked_record(mark: Mark, events: &[StoredEvent]) -> OutcomeRecord {
    let outcome = mark.outcome.clone().with_events(refs_of(events));
    mark.with(outcome)
}

/// The record of a command that ended with these events. `None` if they followed from a command with another id.
#[must_use]
pub fn accepted_record(command: &Command, events: &[StoredEvent]) -> Option<OutcomeRecord> {
    let first = events.first()?;
    let cause = first.links.as_ref().map(|links| &links.cause).filter(|cause| cause.command == command.id)?;
    let event = &first.body.event;
    Some(OutcomeRecord {
        command_id: command.id.clone(),
        command_type: command.r#type.clone(),
        entity: command.entity.id().to_owned(),
        correlation_id: event.extension(CORRELATION_ID).unwrap_or(command.id.as_str()).to_owned(),
        fingerprint: cause.fingerprint.clone(),
        decided_by: cause.decided_by.clone(),
        time: event.time.unwrap_or(command.time),
        outcome: Outcome::Accepted { events: refs_of(events) },
    })
}

fn refs_of(events: &[StoredEvent]) -> Vec<EventRef> {
    events.iter().map(|event| EventRef::of(&event.body)).collect()
}

/// The answer to a command whose messages, all of these, were just stored.
pub(super) fn to_stored(command: &Command, digest: &str, stored: &[StoredMessage]) -> Answer {
    let events = stored.iter().filter_map(|message| match &message.body {
        EntityMessage::Event(event) => Some(EventRef::of(event)),
        EntityMessage::Mark(_) => None,
    });
    let events = events.collect();
    let outcome = match stored.last().map(|last| &last.body) {
        Some(EntityMessage::Mark(mark)) => mark.outcome.clone().with_events(events),
        _ => Outcome::Accepted { events },
    };
    Answer::Ended(OutcomeRecord::new(command, digest, outcome))
}
