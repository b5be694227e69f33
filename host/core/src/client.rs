//! What a gateway needs: the submission of commands, their status, and the reading of views.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::cloudevents::{CAUSATION_ID, CORRELATION_ID, TRACEPARENT};
use crate::command::outcome::{Answer, OutcomeRecord, ParkedCommand};
use crate::id::{CommandId, CommandType, Name, Sequence};
use crate::intake::CommandMessage;
use crate::message::{Fingerprint, Headers, Metadata};
use crate::store::Unavailable;
use crate::time::Timestamp;

/// A command that a client submits, after [`crate::intake::Intake::entity`] has found its entity.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id: the sender's, or a fresh one.
    pub id: CommandId,
    /// Its type.
    pub r#type: CommandType,
    /// The process that the command belongs to, if the sender names one.
    pub correlation_id: Option<String>,
    /// The cause of the command, if the sender names one.
    pub causation_id: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: String,
    /// The extension attributes of the sender.
    pub metadata: Metadata,
    /// The sequence that the sender expects the entity to be at.
    pub expected: Option<Sequence>,
    /// The payload.
    pub data: Bytes,
    /// Tells the command from another that reuses its id.
    pub fingerprint: Fingerprint,
}

impl Submission {
    /// The headers of the command's message: CloudEvents in binary mode, and the subject for the outcome.
    #[must_use]
    pub fn headers(&self, source: &str, reply_to: Option<&str>) -> Headers {
        let ours = [
            (CORRELATION_ID, &self.correlation_id),
            (CAUSATION_ID, &self.causation_id),
            (TRACEPARENT, &self.traceparent),
        ];
        let mut extensions: Metadata =
            ours.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
        extensions.extend(self.metadata.iter().cloned());
        CommandMessage {
            id: &self.id,
            r#type: self.r#type.as_str(),
            source,
            time: Some(Timestamp::now()),
            datacontenttype: &self.datacontenttype,
            extensions: &extensions,
            reply_to,
            expected: self.expected,
            reference: None,
        }
        .headers()
    }
}

/// Why a command was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server cannot be reached or did not answer. Whether the command was stored is unknown; the client may send
    /// the same id again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The command is larger than the server accepts. Nothing was stored.
    #[error("the command has {bytes} bytes with its headers; the server takes {max_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// Another command has its id. Nothing was stored.
    #[error("another command has this id")]
    IdInUse,
}

/// The status of a command.
#[derive(Debug, Clone)]
pub enum CommandStatus {
    /// The command has ended.
    Ended(OutcomeRecord),
    /// The command is stored and has not ended.
    Pending,
    /// The message under this id is no command, for this reason. It was set aside as a dead letter.
    Unreadable(String),
    /// The command is a dead letter and has not ended: an operator has to retry or drop it.
    Parked(ParkedCommand),
    /// Neither the command nor an outcome is stored: it was never sent, or is no longer kept.
    Unknown,
}

/// The way in for commands.
pub trait Ingress: Send + Sync + 'static {
    /// Stores the command, then waits up to the given time for its outcome. `None`: it is stored and has no outcome
    /// yet.
    ///
    /// An id is stored once, so that two hosts never hold copies of one command that differ in time, metadata or
    /// expectation. If the same command is stored already, its outcome is the answer.
    fn submit(
        &self,
        submission: Submission,
        wait: Duration,
    ) -> impl Future<Output = Result<Option<Answer>, SubmitError>> + Send;

    /// The status of a command.
    fn status(&self, id: &CommandId) -> impl Future<Output = Result<CommandStatus, Unavailable>> + Send;

    /// Whether this host can work, now or once the server is back. An error means that only a restart helps.
    fn alive(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Whether the server answers now.
    fn ready(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// One value of a view.
#[derive(Debug, Clone)]
pub struct ViewRow {
    /// The key as the plugin wrote it.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// Values of a view in the order of their escaped keys.
#[derive(Debug, Clone)]
pub struct ViewPage {
    /// The rows.
    pub rows: Vec<ViewRow>,
    /// The key after which the next page starts; `None` on the last page.
    pub next: Option<String>,
    /// A position that the view had reached before the rows were read.
    pub position: Sequence,
}

/// Reads views.
pub trait ViewReader: Send + Sync + 'static {
    /// The value under a key, and a position that the view had reached before.
    fn get(
        &self,
        view: &Name,
        key: &str,
    ) -> impl Future<Output = Result<(Option<Bytes>, Sequence), Unavailable>> + Send;

    /// The values whose keys begin with `prefix` and come after the key `after`, at most `limit` of them. A page has a
    /// bound in bytes and in the keys that it looks at, so a page may be shorter, or even empty, and still have a next
    /// one.
    fn list(
        &self,
        view: &Name,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<ViewPage, Unavailable>> + Send;
}
