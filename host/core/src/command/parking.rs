//! Commands that wait behind one of their entity that failed, where the handler parks.

use super::CommandFlow;
use crate::command::outcome::ParkedCommand;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::{DeadLetterKind, DeadLetters, OnFailure, Parking, RETRY_OF};
use crate::id::Sequence;
use crate::message::{Command, Incoming};
use crate::retry::NotProcessed;
use crate::store::Unavailable;
use crate::subject::Entity;

impl<P: HandlerPlugin, S: CommandStore, L: DeadLetters> CommandFlow<P, S, L> {
    /// The last dead letter that commands of the entity wait behind.
    pub(super) async fn last_letter(&self, entity: &Entity) -> Result<Option<Sequence>, Unavailable> {
        match self.on_failure {
            OnFailure::Skip => Ok(None),
            OnFailure::Park => Box::pin(self.letters.last(&self.name, entity.prefix())).await,
        }
    }

    /// The last dead letter that the command has to wait behind. The retry of the first of them has to wait no more.
    pub(super) async fn blocked_by(
        &self,
        message: &Incoming,
        command: &Command,
    ) -> Result<Option<Sequence>, Unavailable> {
        let last = self.last_letter(&command.entity).await?;
        if last.is_some()
            && message.headers.get(RETRY_OF).is_some()
            && Box::pin(self.letters.is_retry_of_first(&self.name, command.entity.prefix(), message)).await?
        {
            return Ok(None);
        }
        Ok(last)
    }

    /// Keeps the command behind the last dead letter of its entity. None: that letter is the last no more. Nothing is
    /// registered under the command's id: it has not ended, unless that letter is its own.
    pub(super) async fn park(
        &self,
        message: &Incoming,
        command: &Command,
        last: Sequence,
    ) -> Result<Option<ParkedCommand>, NotProcessed> {
        let cause = format!("it waits behind dead letter {last} of its entity");
        let letter = self.letter(message, Some(command), DeadLetterKind::Parked, cause.clone());
        match self.letters.keep_behind(letter, last).await? {
            Parking::Parked => {
                tracing::warn!("parked: {cause}");
                Ok(Some(ParkedCommand { command_id: command.id.clone(), cause }))
            }
            Parking::Overtaken => Ok(None),
            Parking::Failed(cause) => Err(NotProcessed::Failed(cause)),
        }
    }
}
