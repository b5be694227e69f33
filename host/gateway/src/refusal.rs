//! Every refusal: named by cause, and turned into a response in one place.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pelton_core::id::{CommandId, CommandType, Sequence, TokenError};
use pelton_core::intake::IntakeError;
use pelton_core::message::Rejection;
use pelton_core::store::Unavailable;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tracing::warn;

/// The position of a view.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("pelton-position");

/// The seconds after which a client may retry when the store did not answer.
const RETRY_AFTER_SECONDS: u64 = 1;
/// The longest cause of a failed command in an answer, in characters. The dead letter has the whole cause.
const MAX_CAUSE_CHARS: usize = 300;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No route has this path.
    UnknownRoute,
    /// The path has no such method. The router adds `Allow`.
    Method,
    /// A name in the path is not UTF-8 after unescaping.
    Path,
    /// A query parameter cannot be read.
    Parameter { name: String, cause: String },
    /// A header cannot be read.
    Header { name: &'static str, wanted: &'static str },
    /// The body is not declared as JSON.
    MediaType,
    /// The body is larger than the gateway accepts.
    BodyTooLarge { max_bytes: usize },
    /// The body did not arrive in time.
    BodyTooSlow { timeout: Duration },
    /// The body ended too early, or its framing is broken.
    BodyCut,
    /// The body is not a command.
    Body(serde_json::Error),
    /// `Idempotency-Key` and the body's `id` differ.
    TwoIds,
    /// The command's id is not valid.
    Id(TokenError),
    /// The command's id is one that only a saga may use.
    SagasId,
    /// The process's id is not valid.
    CorrelationId { bytes: usize, max_bytes: usize },
    /// The entity cannot be found in the data.
    Entity(IntakeError),
    /// The store did not answer a read.
    Unavailable,
    /// The store did not answer a write; the command may have been stored.
    Unanswered { command: CommandId },
    /// The store does not answer.
    NotReady(Unavailable),
    /// A plugin does not run the version that it should.
    Unfit { plugin: String, why: String },
    /// The running version of the plugin does not take commands of this type.
    NotYetServed { command: CommandType },
    /// This host cannot work any more and has to be started again.
    Broken(Unavailable),
    /// The command is larger than the store accepts.
    CommandTooLarge { bytes: usize, max_bytes: usize },
    /// Another message with the command's id waits to be decided.
    IdInUse { command: CommandId },
    /// A rule of the domain rejected the command.
    Rejected { command: CommandId, entity: String, rejection: Rejection },
    /// The command was set aside as a dead letter.
    Failed { command: CommandId, entity: String, cause: String },
    /// Neither a command nor an outcome has this id.
    UnknownCommand,
    /// No view has this name.
    UnknownView { view: String },
    /// The view has no value under this key.
    UnknownKey { view: String, key: String, position: Sequence },
}

/// A problem details object (RFC 9457), and its headers.
struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    /// The problem's type and title. Without them it is `about:blank`, whose title is the status's own phrase.
    kind: Option<(String, &'static str)>,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.into(), detail.into());
        Self { status, code, detail, kind: None, members: Vec::new(), headers: Vec::new() }
    }

    fn member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { status, code, detail, kind, members, headers } = self.problem();
        let (r#type, title) =
            kind.unwrap_or_else(|| ("about:blank".to_owned(), status.canonical_reason().unwrap_or("Error")));
        let mut body = Map::from_iter([
            ("type".to_owned(), r#type.into()),
            ("title".to_owned(), title.into()),
            ("status".to_owned(), status.as_u16().into()),
            ("detail".to_owned(), detail.into()),
            ("code".to_owned(), code.into()),
        ]);
        body.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut response = (status, Value::Object(body).to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(headers);
        response
    }
}

impl Refusal {
    /// The refusal of a read when the store did not answer. The cause is logged.
    pub(crate) fn unread(cause: &Unavailable) -> Self {
        warn!(%cause, "the store did not answer a read");
        Self::Unavailable
    }

    fn problem(self) -> Problem {
        use StatusCode as S;
        match self {
            Self::UnknownRoute => Problem::new(S::NOT_FOUND, "unknown-route", "nothing is at this path; `GET /` lists what there is"),
            Self::Method => Problem::new(
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path does not take this method; the header `Allow` lists what it takes",
            ),
            Self::Path => Problem::new(S::BAD_REQUEST, "invalid-path", "the path is not UTF-8 after unescaping"),
            Self::Parameter { name, cause } => {
                Problem::new(S::BAD_REQUEST, "invalid-parameter", format!("the parameter {name:?} {cause}"))
                    .member("parameter", name)
            }
            Self::Header { name, wanted } => {
                Problem::new(S::BAD_REQUEST, "invalid-header", format!("the header `{name}` must be one {wanted}"))
                    .member("header", name)
            }
            Self::MediaType => Problem::new(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "the body must be JSON in UTF-8, with `Content-Type: application/json`",
            )
            .header(ACCEPT, HeaderValue::from_static("application/json")),
            Self::BodyTooLarge { max_bytes } => {
                Problem::new(S::PAYLOAD_TOO_LARGE, "too-large", format!("the body has more than {max_bytes} bytes"))
                    .member("maxBytes", max_bytes)
            }
            Self::CommandTooLarge { bytes, max_bytes } => {
                let detail = format!("the command has {bytes} bytes with its headers; the store takes {max_bytes}");
                Problem::new(S::PAYLOAD_TOO_LARGE, "too-large", detail).member("maxBytes", max_bytes)
            }
            Self::BodyTooSlow { timeout } => {
                Problem::new(S::REQUEST_TIMEOUT, "body-timeout", format!("the body did not arrive within {timeout:?}"))
            }
            Self::BodyCut => Problem::new(S::BAD_REQUEST, "invalid-body", "the body ended early or its framing is broken"),
            Self::Body(error) => {
                Problem::new(S::BAD_REQUEST, "invalid-body", format!("the body is not a command: {error}"))
                    .member("line", error.line())
                    .member("column", error.column())
            }
            Self::TwoIds => Problem::new(
                S::BAD_REQUEST,
                "invalid-id",
                "the header `Idempotency-Key` and the member `id` of the body have different ids",
            ),
            Self::Id(cause) => Problem::new(S::BAD_REQUEST, "invalid-id", format!("the command's id {cause}")),
            Self::SagasId => Problem::new(
                S::BAD_REQUEST,
                "invalid-id",
                "the command's id begins with `saga:`, which only sagas may use; choose another id",
            ),
            Self::CorrelationId { bytes, max_bytes } => {
                let detail = format!("the correlation id has {bytes} bytes; 1 to {max_bytes} are allowed");
                Problem::new(S::BAD_REQUEST, "invalid-correlation-id", detail)
            }
            Self::Entity(error) => entity(&error),
            Self::Unavailable => unavailable("the store did not answer; ask again"),
            Self::Unanswered { command } => unavailable(
                "the store did not answer, so whether the command was stored is unknown; send it again with this \
                 command id, which cannot take effect twice",
            )
            .member("commandId", command.as_str()),
            Self::Broken(cause) | Self::NotReady(cause) => unavailable(cause.to_string()),
            Self::Unfit { plugin, why } => unavailable(format!("the plugin {plugin}: {why}")),
            Self::NotYetServed { command } => Problem::new(
                S::SERVICE_UNAVAILABLE,
                "not-yet-served",
                format!("the running version of the plugin does not take the command {command}; a later one may"),
            )
            .member("command", command.as_str())
            .header(RETRY_AFTER, RETRY_AFTER_SECONDS),
            Self::IdInUse { command } => Problem::new(
                S::CONFLICT,
                "command-id-reused",
                "another command has this id, so nothing was stored; a new command needs a new id",
            )
            .member("commandId", command.as_str()),
            Self::Rejected { command, entity, rejection } => rejected(&command, entity, rejection),
            Self::Failed { command, entity, cause } => {
                Problem::new(S::INTERNAL_SERVER_ERROR, "command-failed", short(&cause))
                    .member("commandId", command.as_str())
                    .member("entity", entity)
            }
            Self::UnknownCommand => Problem::new(
                S::NOT_FOUND,
                "unknown-command",
                "neither a command nor an outcome has this id: it was never stored, or is no longer kept",
            ),
            Self::UnknownView { view } => {
                Problem::new(S::NOT_FOUND, "unknown-view", format!("there is no view {view:?}")).member("view", view)
            }
            Self::UnknownKey { view, key, position } => {
                Problem::new(S::NOT_FOUND, "unknown-key", format!("the view {view:?} has no value under {key:?}"))
                    .member("view", view)
                    .member("key", key)
                    .header(POSITION, position.0)
            }
        }
    }
}

fn entity(error: &IntakeError) -> Problem {
    let detail = error.to_string();
    match error {
        IntakeError::Token { name, pointer, .. } => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-entity", detail)
                .member("pointer", format!("/data{pointer}"))
                .member("token", name.as_str())
        }
        // The configuration is checked for this before the gateway serves, so the client is not at fault.
        IntakeError::UnknownType(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-handler", detail),
        _ => Problem::new(StatusCode::BAD_REQUEST, "invalid-body", detail),
    }
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        .header(RETRY_AFTER, RETRY_AFTER_SECONDS)
}

fn rejected(command: &CommandId, entity: String, rejection: Rejection) -> Problem {
    let status = match rejection.code.as_str() {
        Rejection::INVALID_COMMAND => StatusCode::BAD_REQUEST,
        Rejection::VERSION_MISMATCH => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::CONFLICT,
    };
    // The code is the plugin's text, and may have characters that a URN may not.
    let r#type = format!("urn:pelton:rejection:{}", utf8_percent_encode(&rejection.code, URN_ESCAPED));
    let problem = Problem::new(status, rejection.code, rejection.message)
        .member("commandId", command.as_str())
        .member("entity", entity);
    let details: BTreeMap<_, _> = rejection.details.into_iter().collect();
    let problem = if details.is_empty() { problem } else { problem.member("details", json!(details)) };
    Problem { kind: Some((r#type, "The command was rejected")), ..problem }
}

/// The characters that need escaping in a URN or in a segment of a path: all but RFC 3986's unreserved characters.
pub(crate) const URN_ESCAPED: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The first line of a cause, without the guest's backtrace and log that follow it.
pub(crate) fn short(cause: &str) -> String {
    cause.lines().next().unwrap_or_default().chars().take(MAX_CAUSE_CHARS).collect()
}
