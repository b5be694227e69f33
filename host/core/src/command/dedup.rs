//! That a command failed, recorded as its outcome: when it is set aside, and when somebody gives it up.

use crate::command::history::EntityHistory;
use crate::command::outcome::{Claim, Entry, Outcome, OutcomeRecord, Registered};
use crate::command::ports::CommandStore;
use crate::command::{MAX_CONFLICTS, make_way};
use crate::id::Sequence;
use crate::message::Command;
use crate::retry::NotProcessed;
use crate::text::bounded;

/// Records that the command failed, unless it turns out to have ended otherwise. Answers how it ended. Of a long cause
/// the beginning is recorded.
pub async fn record_failure<S: CommandStore>(
    store: &S,
    command: &Command,
    decided_by: &str,
    cause: &str,
) -> Result<OutcomeRecord, NotProcessed> {
    for conflicts in 0..MAX_CONFLICTS {
        make_way(conflicts).await;
        let Registered { entry, revision } = store.registered(&command.id).await?;
        let claim = match entry {
            Entry::Outcome(first) => return Ok(first.answer_to(command)),
            Entry::Claimed(claim) => claim,
            Entry::Vacant => Claim::default(),
        };
        let Some(revision) = store.claim(&command.id, claim, revision).await? else { continue };
        let mut past = EntityHistory::default();
        store
            .since(&command.entity, Sequence::NONE)
            .await?
            .into_iter()
            .for_each(|event| past.push(event.recorded, event.cause));
        let effect = past.effect_of(command, decided_by);
        if effect.is_none() && claim.may_be_stored_after(past.at()) {
            return Err(NotProcessed::Ahead(past.at()));
        }
        let failed =
            || OutcomeRecord::new(command, decided_by, Outcome::Failed { cause: bounded(cause).to_owned() });
        let ended = effect.unwrap_or_else(failed);
        if store.record(&ended, revision).await? {
            return Ok(ended.answer_to(command));
        }
    }
    Err(NotProcessed::Contended(MAX_CONFLICTS))
}
