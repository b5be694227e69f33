//! How a command ended, for whoever has only its id: the log says which entity it is for, and the entity how it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pelton_core::client::CommandStatus;
use pelton_core::cloudevents::CORRELATION_ID;
use pelton_core::command::MAX_CONFLICTS;
use pelton_core::command::decision::{Author, Batch, Decision};
use pelton_core::command::history::EntityHistory;
use pelton_core::command::outcome::{EventRef, Mark, MarkOutcome, Outcome, OutcomeRecord};
use pelton_core::command::ports::{AppendError, Cause, Links, StoredEvent, StoredMessage};
use pelton_core::dead_letter::DeadLetter;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::intake::Intake;
use pelton_core::message::{Command, Incoming};
use pelton_core::store::{ReadError, Unavailable};
use pelton_core::time::Timestamp;

use super::load::Loader;
use super::{append, log};
use crate::connection::Nats;
use crate::dead_letters;
use crate::subjects::{self, COMMANDS, DEAD_LETTERS};
use crate::wire;

/// By how much the clocks of the servers that lead two streams may differ. A command's events are looked for from this
/// long before it was logged.
const MAX_CLOCK_SKEW_NS: u64 = 60_000_000_000;
/// How many messages one read asks for.
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
    /// Of these types, each with the event stream of its entities. `replicated`: whether streams have more than one
    /// replica, so that a read may be answered by one that is behind.
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

    /// Whether the server answers for the log now.
    pub(crate) async fn ready(&self) -> Result<(), Unavailable> {
        // Without handlers there is no log, but there are always dead letters.
        let stream = if self.streams.is_empty() { DEAD_LETTERS } else { COMMANDS };
        log::state(&self.nats, stream).await.map(drop)
    }

    /// What is known of a command: what is acknowledged is seen, so it never goes back from ended to pending.
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
        // It may have ended between the two looks, and its letter have gone.
        let ended = self.end_of(&command).await?.map(|ended| ended.answer_to(&command));
        Ok(ended.map_or(CommandStatus::Pending, CommandStatus::Ended))
    }

    /// The command of this id in the log.
    pub(crate) async fn logged(&self, id: &CommandId) -> Result<Option<Incoming>, Unavailable> {
        let Some(message) = log::command(&self.nats, id).await? else { return Ok(None) };
        let wire::StoredMessage { subject, sequence, headers, payload, stored_at } = message;
        let doing = || format!("reading message {sequence} of stream {COMMANDS}");
        let stream = Name::new(COMMANDS).map_err(|e| Unavailable { doing: doing(), cause: e.to_string() })?;
        Ok(Some(Incoming { stream, sequence, subject, headers, payload, stored_at, attempt: 0 }))
    }

    /// The command in a message of the log, or in a letter of it.
    pub(crate) fn decode(&self, message: &Incoming) -> Result<Command, String> {
        self.intake.decode(message).map_err(|error| error.to_string())
    }

    pub(crate) fn loader(&self, command: &Command) -> Result<&Loader, Unavailable> {
        self.streams.get(command.r#type.as_str()).ok_or_else(|| Unavailable {
            doing: format!("looking for the entity of command {}", command.id),
            cause: format!("the configuration has no handler for commands of type {}", command.r#type),
        })
    }

    /// How this command ended, if it has.
    pub(crate) async fn end_of(&self, command: &Command) -> Result<Option<OutcomeRecord>, Unavailable> {
        self.find_end(command).await.map_err(away)
    }

    async fn find_end(&self, command: &Command) -> Result<Option<OutcomeRecord>, ReadError> {
        let loader = self.loader(command)?;
        if let Some(mark) = loader.mark(&command.entity, &command.id).await? {
            return self.marked(loader, command, mark.sequence, mark.body).await.map(Some);
        }
        self.events_of(loader, command).await
    }

    /// Marks a command as failed, unless it has ended. Answers how it ended.
    pub(crate) async fn give_up(
        &self,
        letter: &DeadLetter,
        command: &Command,
        cause: &str,
    ) -> Result<OutcomeRecord, Unavailable> {
        let loader = self.loader(command)?;
        let stream = Name::new(loader.stream()).map_err(|e| unclear(command, e.to_string()))?;
        for _ in 0..MAX_CONFLICTS {
            // The last message first: an end that comes after the look for one is behind it.
            let messages = loader.tail(&command.entity, Sequence::NONE).await.map_err(away)?;
            if let Some(ended) = self.end_of(command).await? {
                return Ok(ended);
            }
            let last = messages.last().map_or(Sequence::NONE, |last| last.sequence);
            let mut history = EntityHistory::default();
            for event in messages.into_iter().filter_map(StoredMessage::into_event) {
                history.push(&event.body, event.links.as_ref().map(|links| &links.cause));
            }
            // Whoever finds no dead letters behind it goes on.
            let (handler, digest) = (letter.consumer.as_str(), letter.digest.as_deref().unwrap_or_default());
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

    async fn marked(
        &self,
        loader: &Loader,
        command: &Command,
        at: Sequence,
        mark: Mark,
    ) -> Result<OutcomeRecord, ReadError> {
        let outcome = match mark.outcome.clone() {
            MarkOutcome::Accepted { events } => {
                let first = Sequence(at.0.saturating_sub(u64::from(events)));
                let events = loader.events(&command.entity, first, events).await?;
                Outcome::Accepted { events: events.iter().map(|event| EventRef::of(&event.body)).collect() }
            }
            MarkOutcome::Rejected { rejection } => Outcome::Rejected { rejection },
            MarkOutcome::Failed { cause } => Outcome::Failed { cause },
        };
        Ok(mark.with(outcome))
    }

    /// The events that followed from a command, which lie in the stream after it was logged.
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
                    return Ok(record_of(command, cause, &events));
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(None),
            }
        }
    }
}

fn record_of(command: &Command, cause: &Cause, events: &[StoredEvent]) -> Option<OutcomeRecord> {
    let first = &events.first()?.body.event;
    Some(OutcomeRecord {
        command_id: command.id.clone(),
        command_type: command.r#type.clone(),
        entity: command.entity.id().to_owned(),
        correlation_id: first.extension(CORRELATION_ID).unwrap_or(command.id.as_str()).to_owned(),
        fingerprint: cause.fingerprint.clone(),
        decided_by: cause.decided_by.clone(),
        time: first.time.unwrap_or(command.time),
        outcome: Outcome::Accepted { events: events.iter().map(|event| EventRef::of(&event.body)).collect() },
    })
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
