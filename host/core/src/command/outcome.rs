//! How a command ended: recorded once under its id, and the answer to every retry.
//!
//! A command that is parked has not ended: whoever waits is told so, and nothing is recorded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{CommandId, CommandType, Sequence};
use crate::message::{Command, Fingerprint, Rejection};
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

/// What is registered under a command's id: the last entry, and the revision that guards the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The last entry.
    pub entry: Entry,
    /// Its revision.
    pub revision: Revision,
}

impl Registered {
    /// Nothing is.
    #[must_use]
    pub fn vacant() -> Self {
        Self { entry: Entry::Vacant, revision: Revision::NONE }
    }
}

/// A position in the register of a command's id. An entry is written only over the revision that its writer has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// Of an id without entries.
    pub const NONE: Self = Self(0);
}

/// One entry under a command's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// None yet, or none any more.
    Vacant,
    /// Somebody is about to decide the command, or was when he crashed. Whoever finds it writes a claim of his own before
    /// he goes on: then what the other would record under the id comes too late.
    Claimed(Claim),
    /// How the command ended.
    Outcome(OutcomeRecord),
}

/// What a claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Somebody decides the command ahead. A claim over a claim keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
}

/// A command that is decided on events that are not stored yet, and is stored together with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ahead {
    /// The sequence of its entity's last event before all of them.
    pub of: Sequence,
    /// When that was, by the host's clock.
    pub since: Timestamp,
}

/// After this long nobody still stores what he decided ahead. Only a host that was stopped and lost its plugin's version
/// meanwhile waits so long.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

impl Claim {
    /// Whether the command may be stored, behind others, though the entity is still at this sequence. Then nobody may
    /// record that it ended without events.
    #[must_use]
    pub fn may_be_stored_after(&self, at: Sequence) -> bool {
        self.ahead.is_some_and(|ahead| at <= ahead.of && ahead.since.elapsed() < MAX_AHEAD)
    }
}

/// What the audit stream holds under a command's id. The first that is recorded stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeRecord {
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
    /// When it was recorded, by the host's clock.
    pub at: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl OutcomeRecord {
    /// The record of a command that just ended.
    #[must_use]
    pub fn new(command: &Command, decided_by: &str, outcome: Outcome) -> Self {
        Self {
            command_id: command.id.clone(),
            command_type: command.r#type.clone(),
            entity: command.entity.id().to_owned(),
            correlation_id: command.correlation_id.clone(),
            fingerprint: command.fingerprint.clone(),
            decided_by: decided_by.to_owned(),
            at: Timestamp::now(),
            outcome,
        }
    }

    /// Whether it is this command's, and not that of another that shares its id.
    #[must_use]
    pub fn is_of(&self, command: &Command) -> bool {
        self.fingerprint == command.fingerprint
    }

    /// What to answer to this command when this record stands under its id: the record, or, to a command that only
    /// shares the id, a rejection that is not recorded.
    #[must_use]
    pub fn answer_to(self, command: &Command) -> Self {
        if self.is_of(command) {
            return self;
        }
        let message = format!(
            "the id {} was used before, at {}, by a command of type {} on entity {}, or with another payload; \
             a new command needs a new id",
            command.id, self.at, self.command_type, self.entity
        );
        Self::new(
            command,
            &self.decided_by,
            Outcome::Rejected { rejection: Rejection::new(Rejection::ID_REUSED, message) },
        )
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

/// What whoever waits for a command is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// It has ended.
    Ended(OutcomeRecord),
    /// It waits.
    Parked(ParkedCommand),
}

impl Answer {
    /// The command that it is about.
    #[must_use]
    pub fn command_id(&self) -> &CommandId {
        match self {
            Self::Ended(record) => &record.command_id,
            Self::Parked(parked) => &parked.command_id,
        }
    }
}
