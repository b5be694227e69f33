//! An entity that may have moved on takes in what has come to it since.

use super::CommandFlow;
use crate::command::entity::LiveEntity;
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::Retries;
use crate::id::Sequence;
use crate::message::Command;
use crate::retry::NotProcessed;
use crate::store::Unavailable;

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// Brings the entity to its last message as the stream's leader has it. Where the stream no longer goes on from what
    /// is known, which only a restored copy explains, the entity is given up and read anew with the next try.
    pub(super) async fn catch_up(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        command: &Command,
    ) -> Result<(), NotProcessed> {
        // With the last event that it knows, which tells whether the stream is still the one that it was read from.
        let known = Sequence(entity.history().last_event().0.saturating_sub(1));
        let messages = self.store.tail(&command.entity, known).await?;
        if let Err(cause) = entity.history().goes_on_in(&messages) {
            let doing = format!("bringing {} up to date, which is read anew now", command.entity.prefix());
            return Err(Unavailable { doing, cause }.into());
        }
        entity.catch_up(messages).await;
        Ok(())
    }
}
