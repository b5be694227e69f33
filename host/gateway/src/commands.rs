//! A command's path through the gateway, and the place of its outcome.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pelton_core::client::{CommandStatus, Ingress, Submission, SubmitError};
use pelton_core::command::outcome::{
    Answer, EventRef, Outcome, OutcomeRecord, ParkedCommand, UnreadableCommand,
};
use pelton_core::contract::MAX_ATTRIBUTE_BYTES;
use pelton_core::id::{CommandId, CommandType};
use pelton_core::message::Fingerprint;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;
use tracing::{Span, warn};
use uuid::Uuid;

use crate::http::body::{self, Envelope};
use crate::http::headers::{self, Wait};
use crate::refusal::{Refusal, URN_ESCAPED, short};
use crate::state::Shared;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Accepts a command. Nothing is stored unless every check has passed; after that only the store is asked.
pub(crate) async fn submit<I: Ingress, V>(
    shared: &Shared<I, V>,
    r#type: CommandType,
    request: Request,
) -> Result<Response, Refusal> {
    if shared.plugins.unserved.borrow().contains(&r#type) {
        return Err(Refusal::NotYetServed { command: r#type });
    }
    let (head, body) = request.into_parts();
    headers::require_json(&head.headers)?;
    let body = body::read(body, shared.settings.max_body_bytes, shared.settings.body_timeout).await?;
    let Envelope { data, id, correlation_id } = Envelope::read(&body).map_err(Refusal::Body)?;
    let id = command_id(id.as_deref(), headers::idempotency_key(&head.headers)?)?;
    Span::current().record("command_id", id.as_str());
    let correlation_id = correlation_id.map(checked_correlation_id).transpose()?;
    let expected = headers::expected_sequence(&head.headers)?;
    let entity = shared.intake.entity(r#type.as_str(), &data).map_err(Refusal::Entity)?;
    let submission = Submission {
        id: id.clone(),
        fingerprint: Fingerprint::of_command(r#type.as_str(), &entity, &data),
        r#type,
        correlation_id,
        causation_id: None,
        traceparent: headers::traceparent(&head.headers).map(str::to_owned),
        // The request's own media type is that of the body around the data.
        datacontenttype: "application/json".to_owned(),
        metadata: Vec::new(),
        expected,
        data,
    };

    let wait = Wait::of(&head.headers, &shared.settings);
    let mut response = match shared.ingress.submit(submission, wait.duration).await {
        Ok(Some(Answer::Ended(record))) => ended(record).into_response(),
        Ok(Some(Answer::Parked(command))) => parked(&command, Some(entity.id())),
        Ok(Some(Answer::Unreadable(command))) => {
            let (entity, cause) = (entity.id().to_owned(), command.cause);
            return Err(Refusal::Failed { command: id, entity, cause });
        }
        Ok(None) => pending(&id, Some(entity.id())),
        Err(SubmitError::TooLarge { bytes, max_bytes }) => {
            return Err(Refusal::CommandTooLarge { bytes, max_bytes });
        }
        Err(SubmitError::IdInUse) => return Err(Refusal::IdInUse { command: id }),
        Err(SubmitError::Unavailable(cause)) => {
            warn!(%cause, "the store did not answer to a command");
            return Err(Refusal::Unanswered { command: id });
        }
    };
    if let Some(applied) = wait.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Checks that the stored message can be decoded by `Intake::decode`.
fn checked_correlation_id(id: String) -> Result<String, Refusal> {
    if (1..=MAX_ATTRIBUTE_BYTES).contains(&id.len()) {
        return Ok(id);
    }
    Err(Refusal::CorrelationId { bytes: id.len(), max_bytes: MAX_ATTRIBUTE_BYTES })
}

fn command_id(in_body: Option<&str>, in_header: Option<&str>) -> Result<CommandId, Refusal> {
    let given = match (in_body, in_header) {
        (Some(body), Some(header)) if body != header => return Err(Refusal::TwoIds),
        (body, header) => body.or(header),
    };
    match given {
        Some(id) => match CommandId::new(id).map_err(Refusal::Id)? {
            id if id.is_of_saga() => Err(Refusal::SagasId),
            id => Ok(id),
        },
        // Ids that grow with time keep their messages close together in the store.
        None => CommandId::new(Uuid::now_v7().to_string()).map_err(Refusal::Id),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    command_id: &'a CommandId,
    status: &'static str,
    entity: &'a str,
    events: &'a [EventRef],
}

fn ended(record: OutcomeRecord) -> Result<Response, Refusal> {
    let OutcomeRecord { command_id, entity, outcome, .. } = record;
    let events = match outcome {
        Outcome::Accepted { events } => events,
        Outcome::Rejected { rejection } => {
            return Err(Refusal::Rejected { command: command_id, entity, rejection });
        }
        Outcome::Failed { cause } => {
            warn!(cause = short(&cause), "the command was set aside");
            return Err(Refusal::Failed { command: command_id, entity, cause });
        }
    };
    let status = if events.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    let body = Accepted { command_id: &command_id, status: "accepted", entity: &entity, events: &events };
    let mut response = (status, [(LOCATION, location(&command_id))], Json(body)).into_response();
    if let Some(last) = events.last() {
        // The value for `If-Match`: the entity's sequence after this command.
        let tag = format!("\"{}\"", last.sequence);
        let tag = HeaderValue::try_from(tag).expect("digits in quotes are a header value");
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unended<'a> {
    command_id: &'a CommandId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

fn pending(id: &CommandId, entity: Option<&str>) -> Response {
    unended(&Unended { command_id: id, status: "pending", entity, detail: None })
}

/// Not a refusal: the command is kept, and will be decided under this id. A client that took it for a refusal and sent
/// the command again under another id would execute it twice.
fn parked(command: &ParkedCommand, entity: Option<&str>) -> Response {
    let ParkedCommand { command_id, cause } = command;
    let detail = format!(
        "the command is kept and not decided: {cause}; it is decided when an operator has dealt with that"
    );
    unended(&Unended { command_id, status: "parked", entity, detail: Some(detail) })
}

fn unended(body: &Unended<'_>) -> Response {
    (StatusCode::ACCEPTED, [(LOCATION, location(body.command_id))], Json(body)).into_response()
}

/// The path of the outcome.
fn location(id: &CommandId) -> HeaderValue {
    let path = format!("/commands/{}", utf8_percent_encode(id.as_str(), URN_ESCAPED));
    HeaderValue::try_from(path).expect("escaped text is printable ASCII")
}

/// `GET /commands/{id}`: the outcome as it was recorded, without the backtrace of a failure, which is for operators.
pub(crate) async fn status<I: Ingress, V>(
    State(shared): State<Arc<Shared<I, V>>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::Path)?;
    let id = CommandId::new(id).map_err(Refusal::Id)?;
    Span::current().record("command_id", id.as_str());
    let status = shared.ingress.status(&id).await.map_err(|cause| Refusal::unread(&cause))?;
    match status {
        CommandStatus::Ended(mut record) => {
            if let Outcome::Failed { cause } = &mut record.outcome {
                *cause = short(cause);
            }
            Ok(Json(record).into_response())
        }
        CommandStatus::Unreadable(cause) => {
            let answer = UnreadableCommand { command_id: id.to_string(), cause: short(&cause) };
            Ok(Json(answer).into_response())
        }
        CommandStatus::Pending => Ok(pending(&id, None)),
        CommandStatus::Parked(command) => Ok(parked(&command, None)),
        CommandStatus::Unknown => Err(Refusal::UnknownCommand),
    }
}
