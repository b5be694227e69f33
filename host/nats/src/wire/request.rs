//! Publishes with their answers, and requests to the JetStream API.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use pelton_core::store::Unavailable;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::connection::Nats;

/// An error of the server.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{description} (error code {err_code})")]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u64,
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// The confirmation that a message was stored.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PubAck {
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
    /// The number of messages that an atomic batch stored.
    #[serde(default, rename = "count")]
    pub(crate) batch_size: u64,
}

/// Why a message was not stored, as far as is known. Named by the server's check.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PublishError {
    /// 10071, and 10164 in races on three replicas: an expectation does not hold. Nothing was stored.
    #[error("{0}")]
    WrongSequence(ApiError),
    /// 10077 with "maximum messages per subject": the subject holds its first message for ever. Nothing was stored.
    #[error("{0}")]
    SubjectFull(ApiError),
    /// The message or its headers are too large, for the server or for the stream. Nothing was stored.
    #[error("{0}")]
    TooLarge(String),
    /// The server will never accept this message. Nothing was stored.
    #[error("{0}")]
    Refused(String),
    /// This publish stored nothing, and whether another one has stored the message must be looked up: 10158 (its id is
    /// being stored right now), 10201 (a batch with an id that is stored), 10163, 10176 and 10210 (the server was busy,
    /// or lost part of the batch).
    #[error("{0}")]
    NotNow(ApiError),
    /// There was no answer, or one that leaves it open whether the message is stored. Or the stream does not have the
    /// settings that Pelton gave it: this is not the message's fault, so the publish is retried until they are
    /// corrected.
    #[error(transparent)]
    Unclear(#[from] Unavailable),
    /// Nobody answered at once: no stream takes the subject, or its leader is away. Nothing was stored.
    #[error(transparent)]
    NobodyTakes(Unavailable),
}

impl PublishError {
    fn of(error: ApiError, doing: &str) -> Self {
        match error.err_code {
            10071 | 10164 => Self::WrongSequence(error),
            10077 if error.description.contains("per subject") => Self::SubjectFull(error),
            10054 | 10097 => Self::TooLarge(error.to_string()),
            10158 | 10163 | 10176 | 10201 | 10210 => Self::NotNow(error),
            // Another stream captures the subject, the stream is sealed, or it accepts no batches.
            10060 | 10109 | 10174 => Self::Unclear(Unavailable {
                doing: doing.to_owned(),
                cause: format!(
                    "{error}: the stream's settings were changed; `pelton run` says at its start what differs"
                ),
            }),
            // A retry changes none of these: a bad or too large batch, a bad expectation.
            10175 | 10177 | 10179 | 10193 | 10199 | 10200 => Self::Refused(error.to_string()),
            _ => Self::Unclear(Unavailable { doing: doing.to_owned(), cause: error.to_string() }),
        }
    }
}

/// Publishes one message to a stream and waits for it to be stored.
pub(crate) async fn publish(
    nats: &Nats,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<PubAck, PublishError> {
    let doing = || format!("publishing to {subject}");
    let request = Request::new().headers(headers).payload(payload);
    let message = match send(nats, subject, request).await {
        Ok(message) => message,
        Err(SendError::TooLarge(cause)) => return Err(PublishError::TooLarge(cause)),
        Err(SendError::Invalid(cause)) => return Err(PublishError::Refused(cause)),
        Err(SendError::NoAnswer(why)) => {
            let nobody = matches!(why, NoAnswer::NoResponders);
            let away = why.explain(nats, doing(), subject);
            return Err(if nobody { PublishError::NobodyTakes(away) } else { PublishError::Unclear(away) });
        }
    };
    match answer::<PubAck>(&message.payload) {
        Ok(ack) => Ok(ack),
        Err(error) => Err(PublishError::of(error, &doing())),
    }
}

/// Sends a request to the JetStream API. The inner error is the server's answer.
pub(crate) async fn api<T: DeserializeOwned>(
    nats: &Nats,
    subject: &str,
    payload: Bytes,
    doing: &str,
) -> Result<Result<T, ApiError>, Unavailable> {
    let message = request(nats, subject, payload, doing).await?;
    Ok(answer(&message.payload))
}

/// Whether a stream takes messages of this subject.
pub(crate) async fn takes(nats: &Nats, subject: &str) -> Result<bool, Unavailable> {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let doing = format!("asking which stream takes {subject}");
    let request = serde_json::json!({ "subject": subject }).to_string();
    match api::<Names>(nats, "$JS.API.STREAM.NAMES", request.into(), &doing).await? {
        Ok(names) => Ok(names.streams.is_some_and(|streams| !streams.is_empty())),
        Err(error) => Err(Unavailable { doing, cause: error.to_string() }),
    }
}

/// A time as the JetStream API has it.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether JetStream is off: at the server and all servers that it is connected with, or for this connection's account.
/// False if it is unknown.
pub(crate) async fn is_jetstream_off(nats: &Nats) -> bool {
    match send(nats, "$JS.API.INFO", Request::new()).await {
        Err(SendError::NoAnswer(NoAnswer::NoResponders)) => true,
        Ok(message) => {
            // "JetStream not enabled for account", "JetStream not enabled"
            let refusal = answer::<serde::de::IgnoredAny>(&message.payload).err();
            refusal.is_some_and(|error| matches!(error.err_code, 10039 | 10076))
        }
        Err(_) => false,
    }
}

/// Publishes without waiting for an answer. The error says why the message cannot even be sent.
pub(crate) async fn fire(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), PublishError> {
    use async_nats::PublishErrorKind;
    let doing = format!("publishing to {subject}");
    match client.publish_with_headers(subject, headers, payload).await {
        Ok(()) => Ok(()),
        Err(error) => Err(match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge(error.to_string()),
            PublishErrorKind::InvalidSubject => PublishError::Refused(error.to_string()),
            PublishErrorKind::Send => PublishError::Unclear(Unavailable { doing, cause: error.to_string() }),
        }),
    }
}

pub(super) async fn request(
    nats: &Nats,
    subject: &str,
    payload: Bytes,
    doing: &str,
) -> Result<Message, Unavailable> {
    match send(nats, subject, Request::new().payload(payload)).await {
        Ok(message) => Ok(message),
        Err(SendError::TooLarge(cause) | SendError::Invalid(cause)) => {
            Err(Unavailable { doing: doing.to_owned(), cause })
        }
        Err(SendError::NoAnswer(why)) => Err(why.explain(nats, doing.to_owned(), subject)),
    }
}

/// Sends a request over the connection for reads. `None`: that connection was lost meanwhile, perhaps because of the
/// answer.
pub(super) async fn request_reading(
    nats: &Nats,
    subject: &str,
    payload: Bytes,
    doing: &str,
) -> Result<Option<Message>, Unavailable> {
    let reading = nats.reading().await?;
    let mut connects = reading.connects();
    let sent = tokio::select! {
        biased;
        sent = send(&reading, subject, Request::new().payload(payload)) => sent,
        _ = connects.changed() => return Ok(None),
    };
    match sent {
        Ok(message) => Ok(Some(message)),
        Err(SendError::TooLarge(cause) | SendError::Invalid(cause)) => {
            Err(Unavailable { doing: doing.to_owned(), cause })
        }
        Err(SendError::NoAnswer(NoAnswer::Other(_))) => {
            nats.give_up_reading(&reading);
            Ok(None)
        }
        Err(SendError::NoAnswer(why)) => Err(why.explain(&reading, doing.to_owned(), subject)),
    }
}

enum SendError {
    TooLarge(String),
    Invalid(String),
    NoAnswer(NoAnswer),
}

enum NoAnswer {
    TimedOut,
    NoResponders,
    Other(String),
}

impl NoAnswer {
    fn explain(self, nats: &Nats, doing: String, subject: &str) -> Unavailable {
        match self {
            Self::TimedOut => nats.timed_out(doing, subject),
            Self::NoResponders => Unavailable {
                doing,
                cause: "no server answers for it: the stream is away, or JetStream is".to_owned(),
            },
            Self::Other(cause) => Unavailable { doing, cause },
        }
    }
}

async fn send(nats: &Nats, subject: &str, request: Request) -> Result<Message, SendError> {
    nats.client().send_request(subject.to_owned(), request).await.map_err(|error| {
        let text = || match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error.kind() {
            RequestErrorKind::MaxPayloadExceeded => SendError::TooLarge(text()),
            RequestErrorKind::InvalidSubject => SendError::Invalid(text()),
            RequestErrorKind::TimedOut => SendError::NoAnswer(NoAnswer::TimedOut),
            RequestErrorKind::NoResponders => SendError::NoAnswer(NoAnswer::NoResponders),
            RequestErrorKind::Other => SendError::NoAnswer(NoAnswer::Other(text())),
        }
    })
}

fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<ApiError>,
    }
    match serde_json::from_slice(payload) {
        Ok(Refusal { error: Some(error) }) => Err(error),
        _ => serde_json::from_slice(payload).map_err(|e| ApiError {
            code: 500,
            err_code: 0,
            description: format!("the answer cannot be read: {e}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal becomes a permanent fault of the plugin or the sender, so a passing condition must never be named one.
    #[test]
    fn an_error_of_the_server_is_named_by_what_to_do_about_it() {
        let per_subject = "maximum messages per subject exceeded";
        for (code, description, expected) in [
            (10071, "wrong last sequence: 7", "wrong sequence"),
            (10164, "wrong last sequence", "wrong sequence"),
            (10077, per_subject, "subject full"),
            (10077, "maximum messages exceeded", "unclear"),
            (10077, "maximum bytes exceeded", "unclear"),
            (10054, "message size exceeds maximum allowed", "too large"),
            (10097, "header size exceeds maximum allowed of 64k", "too large"),
            (10158, "message with the same id is being stored", "not now"),
            (10163, "batch is incomplete", "not now"),
            (10176, "batch publish is incomplete", "not now"),
            (10201, "batch has a duplicate id", "not now"),
            (10210, "too many open batches", "not now"),
            (10060, "expected stream does not match", "unclear"),
            (10109, "invalid operation on sealed stream", "unclear"),
            (10174, "batch publish not enabled on stream", "unclear"),
            (10175, "batch sequence is missing", "refused"),
            (10177, "unsupported header in a batch", "refused"),
            (10179, "batch id is invalid", "refused"),
            (10193, "expectation without a sequence", "refused"),
            (10199, "batch is too large", "refused"),
            (10200, "batch is invalid", "refused"),
            (10047, "insufficient storage", "unclear"),
            (10008, "JetStream system temporarily unavailable", "unclear"),
            (0, "the answer cannot be read", "unclear"),
            (19999, "an error of a server to come", "unclear"),
        ] {
            let error = ApiError { code: 400, err_code: code, description: description.to_owned() };
            let named = PublishError::of(error, "publishing to a.b");
            let name = match &named {
                PublishError::WrongSequence(_) => "wrong sequence",
                PublishError::SubjectFull(_) => "subject full",
                PublishError::TooLarge(_) => "too large",
                PublishError::Refused(_) => "refused",
                PublishError::NotNow(_) => "not now",
                PublishError::Unclear(_) | PublishError::NobodyTakes(_) => "unclear",
            };
            assert_eq!(name, expected, "{code} {description}");
            assert!(named.to_string().contains(description), "{named}");
        }
    }
}
