//! How a command ended, found by its id alone: the log names the command's entity, and the entity's messages hold the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pelton_core::client::CommandStatus;
use pelton_core::command::decision::{Author, Batch, Decision};
use pelton_core::command::history::EntityHistory;
use pelton_core::command::outcome::{Answer, Outcome, OutcomeRecord};
use pelton_core::command::ports::{AppendError, Links, StoredMessage};
use pelton_core::command::report::{report_of, report_of_unreadable};
use pelton_core::command::{MAX_CONFLICTS, accepted_record, marked_record};
use pelton_core::dead_letter::DeadLetter;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::intake::Intake;
use pelton_core::message::{Command, Incoming};
use pelton_core::outcomes::{CommandReport, CommandResult};
use pelton_core::store::{ReadError, Unavailable};
use pelton_core::time::Timestamp;

use super::load::Loader;
use super::{append, log};
use crate::connection::Nats;
use crate::dead_letters;
use crate::subjects::{self, COMMANDS, DEAD_LETTERS};
use crate::wire;

/// The most by which the clocks of the servers that lead two streams may differ, in nanoseconds. A command's events are
/// searched from this long before the command was logged.
const MAX_CLOCK_SKEW_NS: u64 = 60_000_000_000;
/// The number of messages that one read asks for.
const PAGE: usize = 100;

/// Finds commands and their ends.
#[derive(Debug, Clone)]
pub struct Commands {
    nats: Nats,
    intake: Arc<Intake>,
    /// The event stream of every command type.
    streams: Arc<HashMap<String, Loader>>,
    replicated: bool,
}

impl Commands {
    /// The commands of these types, each with the event stream of its entities. `replicated`: whether streams have more
    /// than one replica, so that a replica that is behind may answer a read.
    #[must_use]
    pub fn new(
        nats: &Nats,
        intake: &Arc<Intake>,
        streams: impl IntoIterator<Item = (String, Name)>,
        replicated: bool,
    ) -> Self {
        let loader = |(r#type, stream)| (r#type, Loader::new(nats, &stream, replicated));
        let streams = Arc::new(streams.into_iter().map(loader).collect());
        Self { nats: nats.clone(), intake: intake.clone(), streams, replicated }
    }

    /// How commands find their entities.
    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Whether the server answers for the log now.
    pub(crate) async fn ready(&self) -> Result<(), Unavailable> {
        // Without handlers there is no log, but there are always dead letters.
        let stream = if self.streams.is_empty() { DEAD_LETTERS } else { COMMANDS };
        log::state(&self.nats, stream).await.map(drop)
    }

    /// The status of a command. It sees every acknowledged write, so a status never goes back from ended to pending.
    pub async fn status(&self, id: &CommandId) -> Result<CommandStatus, Unavailable> {
        let parked = || dead_letters::parked(&self.nats, id);
        let Some(message) = self.logged(id).await? else {
            return Ok(parked().await?.map_or(CommandStatus::Unknown, CommandStatus::Parked));
        };
        let command = match self.intake.decode(&message) {
            Ok(command) => command,
            Err(error) => return Ok(CommandStatus::Unreadable(error.to_string())),
        };
        match self.find_end(&command).await {
            Ok(Some(ended)) => return Ok(CommandStatus::Ended(ended.answer_to(&command))),
            Ok(None) => {}
            // It cannot be decided, nor be said to have ended.
            Err(ReadError::Unreadable(damaged)) => return Ok(CommandStatus::Unreadable(damaged.to_string())),
            Err(ReadError::Unavailable(away)) => return Err(away),
        }
        if let Some(parked) = parked().await? {
            return Ok(CommandStatus::Parked(parked));
        }
        // The command may have ended, and its dead letter been removed, between the two reads.
        let ended = self.end_of(&command).await?.map(|ended| ended.answer_to(&command));
        Ok(ended.map_or(CommandStatus::Pending, CommandStatus::Ended))
    }

    /// What a saga was told, or should have been, of its command with this id. `None`: it has neither ended nor been set
    /// aside, or the log does not have it any more.
    pub(crate) async fn report(&self, id: &CommandId) -> Result<Option<CommandReport>, Unavailable> {
        let Some(message) = self.logged(id).await? else { return Ok(None) };
        let command = match self.decode(&message) {
            Ok(command) => command,
            // Without a dead letter it may only be that this configuration does not know its type.
            Err(cause) => {
                let is_set_aside = dead_letters::parked(&self.nats, id).await?.is_some();
                return Ok(report_of_unreadable(&message, &cause).filter(|_| is_set_aside));
            }
        };
        let answer = match self.status(id).await? {
            CommandStatus::Ended(record) => Answer::Ended(record),
            CommandStatus::Parked(parked) => Answer::Parked(parked),
            CommandStatus::Pending | CommandStatus::Unreadable(_) | CommandStatus::Unknown => {
                return Ok(None);
            }
        };
        let report = report_of(&command, &answer);
        // Nobody retries it any more once its dead letter was dropped.
        if let Answer::Ended(OutcomeRecord { outcome: Outcome::Failed { cause }, .. }) = answer
            && dead_letters::parked(&self.nats, id).await?.is_none()
        {
            // A retry may have taken the dead letter out between the two reads.
            return Ok(match self.end_of(&command).await? {
                Some(OutcomeRecord { outcome: Outcome::Failed { .. }, .. }) => {
                    report.map(|report| CommandReport { result: CommandResult::Failed(cause), ..report })
                }
                Some(record) => report_of(&command, &Answer::Ended(record)),
                None => None,
            });
        }
        Ok(report)
    }

    /// Whether the configuration says how commands of this type find their entities, so that their ends can be found.
    pub(crate) fn serves(&self, r#type: &str) -> bool {
        self.streams.contains_key(r#type)
    }

    /// The command of this id in the log.
    pub(crate) async fn logged(&self, id: &CommandId) -> Result<Option<Incoming>, Unavailable> {
        let Some(message) = log::command(&self.nats, id).await? else { return Ok(None) };
        let stream = Name::new(COMMANDS).map_err(|error| Unavailable {
            doing: format!("reading message {} of stream {COMMANDS}", message.sequence),
            cause: error.to_string(),
        })?;
        Ok(Some(message.into_incoming(stream)))
    }

    /// The command in a message of the log, or in a dead letter of one.
    pub(crate) fn decode(&self, message: &Incoming) -> Result<Command, String> {
        self.intake.decode(message).map_err(|error| error.to_string())
    }

    pub(crate) fn loader(&self, command: &Command) -> Result<&Loader, Unavailable> {
        self.streams.get(command.r#type.as_str()).ok_or_else(|| Unavailable {
            doing: format!("looking for the entity of command {}", command.id),
            cause: format!("the configuration has no handler for commands of type {}", command.r#type),
        })
    }

    pub(super) fn loader_of(&self, stream: &Name) -> Option<&Loader> {
        self.streams.values().find(|loader| loader.stream() == stream.as_str())
    }

    /// How this command ended, if it has.
    pub(crate) async fn end_of(&self, command: &Command) -> Result<Option<OutcomeRecord>, Unavailable> {
        self.find_end(command).await.map_err(away)
    }

    async fn find_end(&self, command: &Command) -> Result<Option<OutcomeRecord>, ReadError> {
        let loader = self.loader(command)?;
        if let Some(mark) = loader.mark(&command.entity, &command.id).await? {
            let count = mark.body.outcome.event_count();
            let first = Sequence(mark.sequence.0.saturating_sub(u64::from(count)));
            let events = loader.events(&command.entity, first, count).await?;
            return Ok(Some(marked_record(mark.body, &events)));
        }
        self.events_of(loader, command).await
    }

    /// Marks a command as failed, unless it has ended. Returns its end.
    pub(crate) async fn give_up(
        &self,
        dead_letter: &DeadLetter,
        command: &Command,
        cause: &str,
    ) -> Result<OutcomeRecord, Unavailable> {
        let loader = self.loader(command)?;
        let stream = Name::new(loader.stream()).map_err(|e| unclear(command, e.to_string()))?;
        for _ in 0..MAX_CONFLICTS {
            // The last message is read first: an end that is stored after the search for one makes the append conflict.
            let messages = loader.tail(&command.entity, Sequence::NONE).await.map_err(away)?;
            if let Some(ended) = self.end_of(command).await? {
                return Ok(ended);
            }
            let last = messages.last().map_or(Sequence::NONE, |last| last.sequence);
            let mut history = EntityHistory::default();
            for event in messages.into_iter().filter_map(StoredMessage::into_event) {
                history.push(&event.body, event.links.as_ref().map(|links| &links.cause));
            }
            // `held`: later commands check the dead letters, and go on if there are none.
            let (handler, digest) =
                (dead_letter.consumer.as_str(), dead_letter.digest.as_deref().unwrap_or_default());
            let author = Author { handler, digest, keep: Duration::ZERO, held: true };
            let mut batch = Batch::new(author, history.backlinks());
            batch.push(command, Decision::failed(cause));
            let write = append::decision(&stream, &command.entity, last, &batch.into_messages());
            let write = write.map_err(|error| unclear(command, error.to_string()))?;
            match append::appended(write.store(&self.nats).await) {
                Ok(_) | Err(AppendError::Conflict | AppendError::Unclear(_)) => {}
                Err(AppendError::Refused(why)) => return Err(unclear(command, why)),
            }
        }
        Err(unclear(command, format!("its entity changed {MAX_CONFLICTS} times meanwhile")))
    }

    /// The record of a command that ended with events. They lie in the stream after the command was logged.
    async fn events_of(
        &self,
        loader: &Loader,
        command: &Command,
    ) -> Result<Option<OutcomeRecord>, ReadError> {
        let filter = subjects::entity_filter(&command.entity);
        let since = Timestamp(command.time.0.saturating_sub(MAX_CLOCK_SKEW_NS));
        let stream = loader.stream();
        let Some(mut from) = wire::first_since(&self.nats, stream, &filter, since).await? else {
            return Ok(None);
        };
        loop {
            let page = wire::page(&self.nats, stream, &filter, from, PAGE, self.replicated).await?;
            let next = page.next();
            for message in page.messages {
                let message = loader.message(message)?;
                let Some(Links { cause, .. }) = &message.links else { continue };
                if cause.command == command.id && cause.events > 0 {
                    let events = loader.events(&command.entity, message.sequence, cause.events).await?;
                    return Ok(accepted_record(command, &events));
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(None),
            }
        }
    }
}

fn unclear(command: &Command, cause: String) -> Unavailable {
    Unavailable { doing: format!("marking command {} as failed", command.id), cause }
}

fn away(error: ReadError) -> Unavailable {
    match error {
        ReadError::Unavailable(away) => away,
        ReadError::Unreadable(damaged) => {
            Unavailable { doing: "looking for a command's end".to_owned(), cause: damaged.to_string() }
        }
    }
}
