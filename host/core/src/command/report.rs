//! Tells a saga how its command ended, before the command is acknowledged. A host that crashes in between gets the command
//! again, finds its end, and tells it again; the saga takes it once.

use super::CommandFlow;
use crate::cloudevents::from_header_value;
use crate::command::outcome::{Answer, Outcome};
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::dead_letter::{Retries, first_subject};
use crate::id::CommandId;
use crate::intake::SAGA_SUFFIX;
use crate::message::{Command, Incoming};
use crate::outcomes::{CommandReport, CommandResult, REFERENCE};
use crate::partition::Partition;
use crate::retry::NotProcessed;
use crate::text::bounded;

/// What a saga is told of its command. `None`: no saga sent it.
#[must_use]
pub fn report_of(command: &Command, answer: &Answer) -> Option<CommandReport> {
    command.id.is_of_saga().then(|| CommandReport {
        command_id: command.id.clone(),
        r#type: command.r#type.to_string(),
        reference: command.reference.clone(),
        depth: command.depth,
        result: result_of(answer),
    })
}

/// What a saga is told of a message that cannot be read as a command: its type and id are in the subject. `None`: no saga
/// sent it.
#[must_use]
pub fn report_of_unreadable(message: &Incoming, cause: &str) -> Option<CommandReport> {
    let subject = first_subject(&message.subject).strip_suffix(SAGA_SUFFIX)?;
    let mut tokens = subject.rsplit('.');
    let (id, r#type) = (tokens.next()?, tokens.next()?);
    Some(CommandReport {
        command_id: CommandId::new(id).ok().filter(CommandId::is_of_saga)?,
        r#type: Partition::split(r#type).0.to_owned(),
        reference: message.headers.get(REFERENCE).map(from_header_value),
        depth: 0,
        result: CommandResult::SetAside(bounded(cause).to_owned()),
    })
}

fn result_of(answer: &Answer) -> CommandResult {
    match answer {
        Answer::Ended(record) => match &record.outcome {
            Outcome::Accepted { events } => {
                CommandResult::Accepted(events.iter().map(|event| event.id.clone()).collect())
            }
            Outcome::Rejected { rejection } => CommandResult::Rejected(rejection.clone()),
            // An operator may have its dead letter decided; who gives it up says so.
            Outcome::Failed { cause } => CommandResult::SetAside(cause.clone()),
        },
        Answer::Parked(parked) => CommandResult::SetAside(parked.cause.clone()),
        Answer::Unreadable(unreadable) => CommandResult::SetAside(unreadable.cause.clone()),
    }
}

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// Tells the saga that sent the command, if one did. Only then the command may be acknowledged.
    pub(super) async fn report(&self, command: &Command, answer: &Answer) -> Result<(), NotProcessed> {
        match report_of(command, answer) {
            Some(report) => Ok(Box::pin(self.store.report(&report)).await?),
            None => Ok(()),
        }
    }
}
