//! How a saga's command ended, as the host of its handler tells the saga. The report is stored before the command is
//! acknowledged, so none is lost; storing it again changes nothing.

use serde::{Deserialize, Serialize};

use crate::id::CommandId;
use crate::message::Rejection;

/// The header of a saga's command with the reference that the instance gave it. No handler sees it.
pub const REFERENCE: &str = "Pelton-Reference";

/// How a command of an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandResult {
    /// The ids of the stored events.
    Accepted(Vec<String>),
    /// The rule that forbids the command.
    Rejected(Rejection),
    /// The cause for which the command was set aside. Another outcome may follow.
    SetAside(String),
    /// The cause for which the command was given up.
    Failed(String),
}

impl CommandResult {
    /// Whether no other outcome of the command follows.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::SetAside(_))
    }

    /// Its name, for logs and listings.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Rejected(_) => "rejected",
            Self::SetAside(_) => "set-aside",
            Self::Failed(_) => "failed",
        }
    }
}

/// How a saga's command ended, on its way to the saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReport {
    /// The command's id, which names the saga and the instance.
    pub command_id: CommandId,
    /// Its type.
    pub r#type: String,
    /// The reference that the instance gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How many reactions of sagas led to it, one after the other.
    #[serde(default)]
    pub depth: u32,
    /// How it ended.
    pub result: CommandResult,
}
