//! What a gateway needs: a place to hand in commands and views to read.

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

/// A command as somebody hands it in, after [`crate::intake::Intake::entity`] has found its entity.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id: the sender's, or a fresh one.
    pub id: CommandId,
    /// Its type.
    pub r#type: CommandType,
    /// The process that it belongs to, if the sender says so.
    pub correlation_id: Option<String>,
    /// What caused it, if the sender says so.
    pub causation_id: Option<String>,
    /// The W3C trace context that it came with.
    pub traceparent: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: String,
    /// Extension attributes that the sender added.
    pub metadata: Metadata,
    /// The entity's sequence that the sender insists on.
    pub expected: Option<Sequence>,
    /// The payload.
    pub data: Bytes,
    /// Tells it from another command that reuses the id.
    pub fingerprint: Fingerprint,
}

impl Submission {
    /// The headers of the message that holds it: CloudEvents in binary mode, and where the outcome is awaited.
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
        }
        .headers()
    }
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server cannot be reached or did not answer. Whether the command was stored is unknown; the same id may be sent again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It is larger than the server takes. Nothing was stored.
    #[error("the command has {bytes} bytes with its headers; the server takes {max_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// Another message with its id waits to be decided. Nothing was stored.
    #[error("another message with the command's id waits to be decided")]
    IdInUse,
}

/// What is known of a command.
#[derive(Debug, Clone)]
pub enum CommandStatus {
    /// It has ended.
    Ended(OutcomeRecord),
    /// It is stored and has not ended.
    Pending,
    /// It is among the dead letters and has not ended: somebody has to retry or drop it.
    Parked(ParkedCommand),
    /// Neither the command nor an outcome is there: never sent, or kept no longer.
    Unknown,
}

/// Takes commands.
pub trait Ingress: Send + Sync + 'static {
    /// Stores the command, then waits for an answer for as long as told. None: it is stored and there is none yet.
    ///
    /// While a message with its id waits to be decided, nothing more is stored, so that no two hosts have copies of one
    /// command in hand that differ in time, metadata or expectation. If that is the same command, its outcome is the
    /// answer; if not, the command is stored once that one has gone, within the time to wait.
    fn submit(
        &self,
        submission: Submission,
        wait: Duration,
    ) -> impl Future<Output = Result<Option<Answer>, SubmitError>> + Send;

    /// What is known of a command.
    fn status(&self, id: &CommandId) -> impl Future<Output = Result<CommandStatus, Unavailable>> + Send;

    /// Whether this host can still work, now or once the server is back. The error says that only a restart helps.
    fn alive(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Whether the server answers now.
    fn ready(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// One value of a view.
#[derive(Debug, Clone)]
pub struct ViewRow {
    /// The key as the plugin gave it.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// Values of a view in the order of their escaped keys.
#[derive(Debug, Clone)]
pub struct ViewPage {
    /// The rows.
    pub rows: Vec<ViewRow>,
    /// The key after which the next page starts; none where this is the last.
    pub next: Option<String>,
    /// The position that the view had reached at least, before the rows were read.
    pub position: Sequence,
}

/// Reads views.
pub trait ViewReader: Send + Sync + 'static {
    /// The value under a key, and the position that the view had reached at least.
    fn get(
        &self,
        view: &Name,
        key: &str,
    ) -> impl Future<Output = Result<(Option<Bytes>, Sequence), Unavailable>> + Send;

    /// Values whose keys begin with `prefix`, after the key `after`, at most `limit` of them. A page may be shorter, or
    /// even empty, and still have a next one: pages have a bound in bytes and in the keys that they look at.
    fn list(
        &self,
        view: &Name,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<ViewPage, Unavailable>> + Send;
}
