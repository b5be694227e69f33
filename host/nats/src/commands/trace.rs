//! What led to what: a command with its end and its cause, and the messages of an entity with the commands that they
//! followed from.

use pelton_core::client::CommandStatus;
use pelton_core::command::outcome::MarkOutcome;
use pelton_core::command::ports::EntityMessage;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::message::Command;
use pelton_core::store::{ReadError, Unavailable};
use pelton_core::subject::Entity;

use super::Commands;

/// A command of the log, and what became of it.
#[derive(Debug, Clone)]
pub struct TracedCommand {
    /// The command. `None`: the log holds something under the id that is no command.
    pub command: Option<Command>,
    /// Where it lies in the log.
    pub logged_at: Sequence,
    /// What became of it.
    pub status: CommandStatus,
}

/// A message of an entity.
#[derive(Debug, Clone)]
pub struct EntityEntry {
    /// Its position in the event stream.
    pub sequence: Sequence,
    /// What it says: `room-booked v1`, or how a command ended without events.
    pub what: String,
    /// The event's id. `None` for a mark.
    pub event: Option<String>,
    /// The command that it followed from, and the digest of what decided it. `None`: somebody else wrote it.
    pub decided: Option<(CommandId, String)>,
}

impl Commands {
    /// The command of this id. `None`: the log does not have it, or has let go of it.
    pub async fn trace(&self, id: &CommandId) -> Result<Option<TracedCommand>, Unavailable> {
        let Some(message) = self.logged(id).await? else { return Ok(None) };
        let status = self.status(id).await?;
        Ok(Some(TracedCommand { command: self.decode(&message).ok(), logged_at: message.sequence, status }))
    }

    /// All messages of an entity, in order.
    ///
    /// # Errors
    ///
    /// The store is away, or a message cannot be read.
    pub async fn entity_entries(
        &self,
        stream: &Name,
        entity: &Entity,
    ) -> Result<Vec<EntityEntry>, ReadError> {
        let Some(loader) = self.loader_of(stream) else { return Ok(Vec::new()) };
        let messages = loader.tail(entity, Sequence::NONE).await?;
        let entry = |message: pelton_core::command::ports::StoredMessage| {
            let (what, event) = match &message.body {
                EntityMessage::Event(recorded) => {
                    let event = &recorded.event;
                    (format!("{} v{}", event.r#type, event.version), Some(event.id.clone()))
                }
                EntityMessage::Mark(mark) => (ended_without_events(&mark.outcome), None),
            };
            let decided = message.links.map(|links| (links.cause.command, links.cause.decided_by));
            EntityEntry { sequence: message.sequence, what, event, decided }
        };
        Ok(messages.into_iter().map(entry).collect())
    }
}

fn ended_without_events(outcome: &MarkOutcome) -> String {
    match outcome {
        MarkOutcome::Accepted { .. } => "accepted".to_owned(),
        MarkOutcome::Rejected { rejection } => format!("rejected: {}", rejection.code),
        MarkOutcome::Failed { cause } => format!("failed: {cause}"),
    }
}
