//! How a command ended: kept once, at its entity, and the answer to every retry.

use serde::{Deserialize, Serialize};

use crate::dead_letter::first_subject;
use crate::id::{CommandId, CommandType, Sequence};
use crate::intake::SAGA_SUFFIX;
use crate::message::{Command, Fingerprint, Incoming, RecordedEvent, Rejection};
use crate::text::bounded;
use crate::time::Timestamp;

/// A stored event, as an outcome names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRef {
    /// The event's id.
    pub id: String,
    /// Its type.
    pub r#type: String,
    /// The version of the form of its data.
    pub version: u32,
    /// The stream that holds it.
    pub stream: String,
    /// Its position there.
    pub sequence: Sequence,
}

impl EventRef {
    /// Names a stored event.
    #[must_use]
    pub fn of(recorded: &RecordedEvent) -> Self {
        Self {
            id: recorded.event.id.clone(),
            r#type: recorded.event.r#type.clone(),
            version: recorded.event.version,
            stream: recorded.stream.to_string(),
            sequence: recorded.sequence,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// Its events are stored. None means that it was accepted and changed nothing.
    Accepted {
        /// In order.
        events: Vec<EventRef>,
    },
    /// A rule of the domain said no.
    Rejected {
        /// Which one.
        rejection: Rejection,
    },
    /// It could not be decided and was set aside as a dead letter.
    Failed {
        /// Why.
        cause: String,
    },
}

/// What is kept of a command that has ended: what it was, who decided it, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<O> {
    /// The command.
    pub command_id: CommandId,
    /// Its type.
    pub command_type: CommandType,
    /// The entity's id.
    pub entity: String,
    /// The process that it belongs to.
    pub correlation_id: String,
    /// Tells a retry from another command that reuses the id.
    pub fingerprint: Fingerprint,
    /// The digest of the component that decided it.
    pub decided_by: String,
    /// When the command was stored.
    pub time: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: O,
}

/// The outcome of a command.
pub type OutcomeRecord = Record<Outcome>;

/// What a mark holds: a message among an entity's events that says what became of a command.
pub type Mark = Record<MarkOutcome>;

/// What became of a command, as its mark says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum MarkOutcome {
    /// It was accepted. Its events are this many messages directly before the mark; mostly none, for a command with
    /// events needs no mark unless there was one before.
    Accepted {
        /// How many.
        events: u32,
    },
    /// A rule of the domain said no.
    Rejected {
        /// Which one.
        rejection: Rejection,
    },
    /// It was set aside as a dead letter. When the letter is retried another mark follows.
    Failed {
        /// Why.
        cause: String,
    },
}

impl MarkOutcome {
    /// Whether the command has ended for good: no dead letter is left that could change it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Accepted { .. } | Self::Rejected { .. })
    }

    /// The number of events that lie directly before the mark.
    #[must_use]
    pub fn event_count(&self) -> u32 {
        match self {
            Self::Accepted { events } => *events,
            Self::Rejected { .. } | Self::Failed { .. } => 0,
        }
    }

    /// The outcome that the mark stands for, given its events.
    #[must_use]
    pub fn with_events(self, events: Vec<EventRef>) -> Outcome {
        match self {
            Self::Accepted { .. } => Outcome::Accepted { events },
            Self::Rejected { rejection } => Outcome::Rejected { rejection },
            Self::Failed { cause } => Outcome::Failed { cause },
        }
    }
}

impl<O> Record<O> {
    /// The record of a command that just ended.
    #[must_use]
    pub fn new(command: &Command, decided_by: &str, outcome: O) -> Self {
        Self {
            command_id: command.id.clone(),
            command_type: command.r#type.clone(),
            entity: command.entity.id().to_owned(),
            correlation_id: command.correlation_id.clone(),
            fingerprint: command.fingerprint.clone(),
            decided_by: decided_by.to_owned(),
            time: command.time,
            outcome,
        }
    }

    /// The same with another outcome.
    pub fn with<P>(self, outcome: P) -> Record<P> {
        let Self { command_id, command_type, entity, correlation_id, fingerprint, decided_by, time, .. } =
            self;
        Record { command_id, command_type, entity, correlation_id, fingerprint, decided_by, time, outcome }
    }
}

impl OutcomeRecord {
    /// What to answer to this command when this record stands under its id: the record, or, to a command that only
    /// shares the id, a rejection that is stored nowhere.
    #[must_use]
    pub fn answer_to(self, command: &Command) -> Self {
        if self.fingerprint == command.fingerprint {
            return self;
        }
        let message = format!(
            "entity {} has ended a command with the id {}, stored at {}, that is of another type or has another \
             payload; a new command needs a new id",
            self.entity, command.id, self.time
        );
        let rejection = Rejection::new(Rejection::ID_REUSED, message);
        Self::new(command, &self.decided_by, Outcome::Rejected { rejection })
    }
}

/// A command that is kept undecided, behind an earlier one of its entity that failed. It is decided when that one has
/// been retried or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename = "parked", rename_all = "camelCase")]
pub struct ParkedCommand {
    /// The command.
    pub command_id: CommandId,
    /// What it waits for.
    pub cause: String,
}

/// A message that is no command, so that nothing can be decided. It was set aside as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename = "failed", rename_all = "camelCase")]
pub struct UnreadableCommand {
    /// The id at the end of its subject.
    pub command_id: String,
    /// What is wrong with it.
    pub cause: String,
}

/// What a client that waits for a command is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// It has ended.
    Ended(OutcomeRecord),
    /// It waits.
    Parked(ParkedCommand),
    /// It is no command.
    Unreadable(UnreadableCommand),
}

impl Answer {
    /// The answer to a message that is no command.
    #[must_use]
    pub fn unreadable(message: &Incoming, cause: &str) -> Self {
        let subject = first_subject(&message.subject);
        let subject = subject.strip_suffix(SAGA_SUFFIX).unwrap_or(subject);
        let command_id = subject.rsplit('.').next().unwrap_or_default().to_owned();
        Self::Unreadable(UnreadableCommand { command_id, cause: bounded(cause).to_owned() })
    }

    /// The id of the command that it is about.
    #[must_use]
    pub fn command_id(&self) -> &str {
        match self {
            Self::Ended(record) => record.command_id.as_str(),
            Self::Parked(parked) => parked.command_id.as_str(),
            Self::Unreadable(unreadable) => &unreadable.command_id,
        }
    }
}
