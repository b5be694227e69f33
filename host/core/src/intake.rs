//! Decodes a message of the command stream into a command whose entity is known.
//!
//! The gateway makes the same checks before it stores a command, so a command that it accepts can be decoded here.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::cloudevents::{
    self, Attributes, CAUSATION_ID, CORRELATION_ID, CloudEventError, DEPTH, TRACEPARENT,
};
use crate::contract::MAX_EXTENSIONS;
use crate::dead_letter::first_subject;
use crate::id::{CommandId, CommandType, Sequence, TokenError};
use crate::message::{Command, Event, Fingerprint, Headers, Incoming, Metadata};
use crate::outcomes::REFERENCE;
use crate::partition::{Partition, Partitions};
use crate::subject::{Entity, EntityTemplate};
use crate::time::Timestamp;

/// The header with the subject at which the sender waits for the outcome.
pub const REPLY_TO: &str = "Pelton-Reply-To";
/// The header with the sequence that the sender expects the entity to be at.
pub const EXPECTED_SEQUENCE: &str = "Pelton-Expected-Sequence";

/// What the subject of a saga's command ends with, after its id: an origin of its own, so that nobody who may publish
/// `command.<type>.<id>` can publish there.
pub const SAGA_SUFFIX: &str = ".saga";

/// The content of the headers of a command's message. [`Intake::decode`] reads them back.
#[derive(Debug, Clone, Copy)]
pub struct CommandMessage<'a> {
    /// The command's id.
    pub id: &'a CommandId,
    /// Its type.
    pub r#type: &'a str,
    /// The sender, a URI reference.
    pub source: &'a str,
    /// When the command was sent, by the sender's clock.
    pub time: Option<Timestamp>,
    /// The media type of its data.
    pub datacontenttype: &'a str,
    /// Correlation, causation and trace, and the sender's additions.
    pub extensions: &'a [(String, String)],
    /// The subject at which the sender waits for the outcome.
    pub reply_to: Option<&'a str>,
    /// The sequence that the sender expects the entity to be at.
    pub expected: Option<Sequence>,
    /// What the saga's instance that sends it calls it.
    pub reference: Option<&'a str>,
}

impl CommandMessage<'_> {
    /// The headers: CloudEvents in binary mode, and Pelton's own.
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = cloudevents::encode(Attributes {
            id: self.id.as_str(),
            source: self.source,
            r#type: self.r#type,
            version: 1,
            subject: None,
            time: self.time,
            datacontenttype: Some(self.datacontenttype),
            dataschema: None,
            extensions: self.extensions,
        });
        if let Some(reply_to) = self.reply_to {
            headers.push(REPLY_TO, reply_to);
        }
        if let Some(expected) = self.expected {
            headers.push(EXPECTED_SEQUENCE, expected.to_string());
        }
        if let Some(reference) = self.reference {
            headers.push(REFERENCE, cloudevents::header_value(reference));
        }
        headers
    }
}

/// How the commands of one type find their entity.
#[derive(Debug, Clone)]
pub struct CommandRoute {
    /// The handler's template.
    pub template: EntityTemplate,
    /// For each name in the template, the JSON pointer (RFC 6901) to its value in the command's data.
    pub tokens: BTreeMap<String, String>,
    /// Into how many partitions the handler's entities are divided.
    pub partitions: Partitions,
}

/// The accepted commands, by type.
#[derive(Debug, Clone, Default)]
pub struct Intake {
    routes: HashMap<String, CommandRoute>,
}

/// Why a message is not a command that can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The message is not a CloudEvent.
    #[error("the message {0}")]
    CloudEvent(#[from] CloudEventError),
    /// The subject is not `<prefix>.<command type>.<command id>`, or differs from the headers.
    #[error("the subject {subject:?} does not end in `{type}.{id}`, the message's `ce-type` and `ce-id`", r#type = .expected.0, id = .expected.1)]
    Subject {
        /// The message's subject.
        subject: String,
        /// The type and id in the attributes.
        expected: (String, String),
    },
    /// The subject names another partition than the entity's.
    #[error(
        "the subject {subject:?} has {entity} in another partition: publish it at {expected:?} in place of {found:?}"
    )]
    Partition {
        /// The message's subject.
        subject: String,
        /// The entity's subject.
        entity: String,
        /// The token with the type and the partition that the subject has.
        found: String,
        /// The token that the entity belongs to.
        expected: String,
    },
    /// The command's id cannot be part of a subject.
    #[error("the command's id {id:?} {cause}")]
    Id {
        /// The id.
        id: String,
        /// Why.
        cause: TokenError,
    },
    /// A client chose an id that only a saga may use, or published where only sagas do.
    #[error(
        "the command's id {id} begins with `saga:`, which only sagas may use, and it is from {sender:?} or not at a saga's \
         subject; choose another id"
    )]
    SagasId {
        /// The id.
        id: CommandId,
        /// The sender, by its `ce-source`.
        sender: String,
    },
    /// No handler takes this type, as this host is configured. Where it is in the log, another host has one that does.
    #[error("no handler of this host's configuration takes commands of type {0:?}")]
    UnknownType(String),
    /// The data is not JSON, so the entity's tokens cannot be found in it.
    #[error("the command's data is not JSON: {0}")]
    NotJson(String),
    /// A token of the entity is missing or cannot be part of a subject.
    #[error("the command's data has no usable {pointer} (the entity's {name}): it {cause}")]
    Token {
        /// The name in the template.
        name: String,
        /// The JSON pointer.
        pointer: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The sender added too many extension attributes.
    #[error(
        "the message has {0} extension attributes beside the host's own; at most {MAX_EXTENSIONS} are allowed"
    )]
    Metadata(usize),
    /// A header of Pelton's own cannot be read.
    #[error("the header {name} has the value {value:?}, which is not a {wanted}")]
    Header {
        /// The header.
        name: &'static str,
        /// Its value.
        value: String,
        /// The expected kind of value.
        wanted: &'static str,
    },
}

impl Intake {
    /// An intake for these command types.
    #[must_use]
    pub fn new(routes: HashMap<String, CommandRoute>) -> Self {
        Self { routes }
    }

    /// The accepted commands, each with how it finds its entity.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &CommandRoute)> {
        self.routes.iter().map(|(r#type, route)| (r#type.as_str(), route))
    }

    /// The entity that a command of this type concerns, found in its data.
    pub fn entity(&self, r#type: &str, data: &[u8]) -> Result<Entity, IntakeError> {
        let route = self.routes.get(r#type).ok_or_else(|| IntakeError::UnknownType(r#type.to_owned()))?;
        let data: Value = serde_json::from_slice(data).map_err(|e| IntakeError::NotJson(e.to_string()))?;
        let mut tokens = BTreeMap::new();
        for (name, pointer) in &route.tokens {
            let value = token_text(data.pointer(pointer)).map_err(|cause| IntakeError::Token {
                name: name.clone(),
                pointer: pointer.clone(),
                cause: cause.to_owned(),
            })?;
            tokens.insert(name.as_str(), value);
        }
        route.template.entity(&tokens).map_err(|(name, cause)| {
            let pointer = route.tokens.get(&name).cloned().unwrap_or_default();
            IntakeError::Token { name, pointer, cause: cause.to_string() }
        })
    }

    /// Into how many partitions the entities of commands of this type are divided, as this host is configured.
    #[must_use]
    pub fn partitions(&self, r#type: &str) -> Partitions {
        self.routes.get(r#type).map_or(Partitions::ONE, |route| route.partitions)
    }

    /// The partition of the entity that a command concerns. The first where the entity cannot be found: whoever decodes the
    /// command says why.
    #[must_use]
    pub fn partition(&self, partitions: Partitions, r#type: &str, data: &[u8]) -> Partition {
        let entity = (partitions != Partitions::ONE).then(|| self.entity(r#type, data));
        match entity {
            Some(Ok(entity)) => partitions.of(&entity),
            _ => Partition::first(partitions),
        }
    }

    /// Decodes a message of the command stream.
    pub fn decode(&self, message: &Incoming) -> Result<Command, IntakeError> {
        let event = cloudevents::decode(&message.headers, &message.payload)?;
        let id =
            CommandId::new(&event.id).map_err(|cause| IntakeError::Id { id: event.id.clone(), cause })?;
        let subject = first_subject(&message.subject);
        let is_retry = subject.len() < message.subject.len();
        let subject = match (id.is_of_saga(), subject.strip_suffix(SAGA_SUFFIX)) {
            (true, Some(subject)) if id.is_of_saga_at(&event.source) => subject,
            (true, _) => return Err(IntakeError::SagasId { id, sender: event.source }),
            (false, _) => subject,
        };
        let place = subject.strip_suffix(id.as_str()).and_then(|rest| rest.strip_suffix('.'));
        let place = place.and_then(|rest| rest.rsplit('.').next()).unwrap_or_default();
        let (r#type, partition) = match (CommandType::new(&event.r#type), Partition::split(place)) {
            (Ok(r#type), (name, Some(partition))) if name == r#type.as_str() => (r#type, partition),
            _ => {
                return Err(IntakeError::Subject {
                    subject: message.subject.clone(),
                    expected: (event.r#type, event.id),
                });
            }
        };
        let entity = self.entity(r#type.as_str(), &event.data)?;
        // The number of partitions may have been another one when the command was stored.
        let of_entity = partition.siblings().of(&entity);
        if partition != of_entity {
            return Err(IntakeError::Partition {
                subject: message.subject.clone(),
                entity: entity.prefix().to_owned(),
                found: place.to_owned(),
                expected: of_entity.of_name(r#type.as_str()),
            });
        }
        let expected = message.headers.get(EXPECTED_SEQUENCE).map(expected_sequence).transpose()?;
        let fingerprint = Fingerprint::of_command(r#type.as_str(), &entity, &event.data);
        let Event { datacontenttype, extensions, data, .. } = event;
        let mut metadata = extensions;
        let mut take =
            |name: &str| metadata.iter().position(|(n, _)| n == name).map(|at| metadata.remove(at).1);
        let correlation_id = take(CORRELATION_ID).unwrap_or_else(|| id.to_string());
        let causation_id = take(CAUSATION_ID);
        let traceparent = take(TRACEPARENT);
        let depth = take(DEPTH).and_then(|depth| depth.parse().ok()).unwrap_or_default();
        metadata.retain(|(name, _)| !name.starts_with("nats-"));
        if metadata.len() > MAX_EXTENSIONS {
            return Err(IntakeError::Metadata(metadata.len()));
        }
        Ok(Command {
            r#type,
            entity,
            // Of a retry, or what somebody publishes as one, there is a copy that was logged before.
            logged_at: if is_retry { Sequence::NONE } else { message.sequence },
            time: message.stored_at,
            correlation_id,
            causation_id,
            traceparent,
            principal: None,
            datacontenttype,
            metadata,
            context: Metadata::new(),
            data,
            fingerprint,
            reply_to: message.headers.get(REPLY_TO).map(str::to_owned),
            expected,
            reference: message.headers.get(REFERENCE).map(cloudevents::from_header_value),
            depth,
            id,
        })
    }
}

fn expected_sequence(value: &str) -> Result<Sequence, IntakeError> {
    value.parse().map(Sequence).map_err(|_| IntakeError::Header {
        name: EXPECTED_SEQUENCE,
        value: value.to_owned(),
        wanted: "sequence (a whole number)",
    })
}

fn token_text(value: Option<&Value>) -> Result<String, &'static str> {
    match value {
        None | Some(Value::Null) => Err("is missing"),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        Some(Value::Number(_)) => {
            Err("is a number with a fraction or too large; use a whole number or a text")
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err("is neither a text nor a whole number")
        }
    }
}
