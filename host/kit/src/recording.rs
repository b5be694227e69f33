//! A recording: a file with the stored messages of an event stream, and the commands that led to them.
//!
//! The file has one JSON object a line. The first is the header. Then come commands, then events and marks. The last
//! has the number of messages, so that a file that was cut off is noticed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pelton_core::command::outcome::Mark;
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::intake::{CommandRoute, Intake};
use pelton_core::message::{Command, Headers, Incoming, RecordedEvent};
use pelton_core::partition::Partitions;
use pelton_core::recorded;
use pelton_core::subject::{Entity, EntityTemplate};
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::case::GivenCommand;
use crate::corpus::{Given, Origin, Template};
use crate::guest::History;
use crate::inputs::read;

/// The most histories of entities that rules try.
const MAX_HISTORIES: usize = 20;
/// The most commands of one type that rules try.
const MAX_OF_TYPE: usize = 5;
/// The most events of the stream that rules try.
const MAX_OF_STREAM: usize = 500;
/// The version of the file's form.
const FORM: u32 = 1;

/// The header of a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    form: u32,
    /// The event stream.
    pub stream: String,
    /// The one entity that was recorded. `None` if all were.
    pub entity: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
    /// JSON pointers to values that were replaced.
    pub redacted: Vec<String>,
    /// The routes of commands to their entities, by command type.
    pub routes: BTreeMap<String, Route>,
}

/// The route of the commands of one type to their entities.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Route {
    /// The template of the entity.
    pub entity: String,
    /// For each name in the template, the JSON pointer to its value.
    pub tokens: BTreeMap<String, String>,
}

impl Header {
    /// The header of a recording that is made now.
    #[must_use]
    pub fn new(stream: &str, entity: Option<String>, redacted: Vec<String>, intake: &Intake) -> Self {
        let route =
            |route: &CommandRoute| Route { entity: route.template.to_string(), tokens: route.tokens.clone() };
        let routes = intake.routes().map(|(name, of)| (name.to_owned(), route(of)));
        let (stream, at) = (stream.to_owned(), Timestamp::now());
        Self { form: FORM, stream, entity, at, redacted, routes: routes.collect() }
    }

    fn intake(&self) -> Result<Intake, String> {
        let route = |(name, route): (&String, &Route)| {
            let template = EntityTemplate::parse(&route.entity)
                .map_err(|error| format!("the template {:?}: {error}", route.entity))?;
            let tokens = route.tokens.clone();
            Ok((name.clone(), CommandRoute { template, tokens, partitions: Partitions::ONE }))
        };
        Ok(Intake::new(self.routes.iter().map(route).collect::<Result<_, String>>()?))
    }
}

/// A message as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its position in its stream.
    pub sequence: Sequence,
    /// Its subject.
    pub subject: String,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// The command that led to it. `None` in a command, and in a message that Pelton did not write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    payload: Payload,
}

/// The command that led to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The command's id.
    pub command: CommandId,
    /// How many events the command led to; 0 in a mark.
    pub events: u32,
    /// The digest of the version that decided it.
    pub decided_by: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Bytes { base64: String },
}

impl Message {
    /// A message with this payload.
    #[must_use]
    pub fn new(message: &Incoming, cause: Option<Cause>, payload: &[u8]) -> Self {
        let headers = message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            sequence: message.sequence,
            subject: message.subject.clone(),
            stored_at: message.stored_at,
            headers: headers.collect(),
            cause,
            payload: match std::str::from_utf8(payload) {
                Ok(text) => Payload::Text(text.to_owned()),
                Err(_) => Payload::Bytes { base64: STANDARD.encode(payload) },
            },
        }
    }

    fn payload(&self) -> Result<Bytes, String> {
        match &self.payload {
            Payload::Text(text) => Ok(text.clone().into()),
            Payload::Bytes { base64 } => {
                STANDARD.decode(base64).map(Bytes::from).map_err(|error| format!("its payload: {error}"))
            }
        }
    }

    fn headers(&self) -> Headers {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "pelton", rename_all = "kebab-case")]
enum Line {
    Recording(Header),
    Command(Message),
    Event(Message),
    Mark(Message),
    End { messages: u64 },
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command of the log.
    Command,
    /// An event.
    Event,
    /// The mark of a command that ended without events.
    Mark,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    messages: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn begin(to: W, header: Header) -> std::io::Result<Self> {
        let mut writer = Self { to, messages: 0 };
        writer.line(&Line::Recording(header))?;
        Ok(writer)
    }

    /// Adds a message. Commands come before events and marks.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn add(&mut self, kind: Kind, message: Message) -> std::io::Result<()> {
        self.messages += 1;
        self.line(&match kind {
            Kind::Command => Line::Command(message),
            Kind::Event => Line::Event(message),
            Kind::Mark => Line::Mark(message),
        })
    }

    /// Ends the recording. Returns how many messages it has.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end(mut self) -> std::io::Result<u64> {
        let messages = self.messages;
        self.line(&Line::End { messages })?;
        self.to.flush()?;
        Ok(messages)
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }
}

/// A recording that was read.
#[derive(Debug)]
pub struct Recording {
    /// The header of a recording.
    pub header: Header,
    pub(crate) commands: HashMap<CommandId, Command>,
    pub(crate) entries: Vec<Entry>,
}

/// A message of an entity.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) sequence: Sequence,
    /// `None` if the message does not belong to a handler's entity.
    pub(crate) entity: Option<Entity>,
    pub(crate) cause: Option<Cause>,
    pub(crate) what: Recorded,
}

#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Event(Box<RecordedEvent>),
    Mark(Box<Mark>),
}

/// Why a file is not a recording.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct MalformedRecording {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// The file is not a recording, has another form, or was cut off.
    pub fn read(from: impl BufRead) -> Result<Self, MalformedRecording> {
        let mut reading: Option<(Self, Intake)> = None;
        let (mut messages, mut ended, mut last) = (0, false, 0);
        for (line, text) in (1..).zip(from.lines()) {
            let at = |what: String| MalformedRecording { line, what };
            let text = text.map_err(|error| at(error.to_string()))?;
            last = line;
            if ended {
                return Err(at("it goes on after its end".to_owned()));
            }
            let parsed = serde_json::from_str(&text).map_err(|error| match line {
                1 => at(format!("it is not a recording by `pelton record`: {error}")),
                _ => at(error.to_string()),
            })?;
            match (parsed, &mut reading) {
                (Line::Recording(header), none @ None) => {
                    if header.form != FORM {
                        let form = header.form;
                        return Err(at(format!("it has the form {form}; this version reads {FORM}")));
                    }
                    let intake = header.intake().map_err(at)?;
                    *none = Some((Self { header, commands: HashMap::new(), entries: Vec::new() }, intake));
                }
                (Line::Recording(_), Some(_)) | (_, None) => {
                    return Err(at("a recording has one header, in its first line".to_owned()));
                }
                (Line::End { messages: counted }, Some(_)) if counted == messages => ended = true,
                (Line::End { messages: counted }, Some(_)) => {
                    return Err(at(format!("it ends after {messages} messages, of {counted}")));
                }
                (Line::Command(message), Some((recording, intake))) => {
                    messages += 1;
                    recording.command(&message, intake).map_err(at)?;
                }
                (Line::Event(message), Some((recording, intake))) => {
                    messages += 1;
                    let event = recording.event(&message).map_err(at)?;
                    recording.add(message, intake, Recorded::Event(Box::new(event)));
                }
                (Line::Mark(message), Some((recording, intake))) => {
                    messages += 1;
                    let mark = message.payload().and_then(|payload| {
                        serde_json::from_slice(&payload).map_err(|error| format!("it is not a mark: {error}"))
                    });
                    recording.add(message, intake, Recorded::Mark(mark.map_err(at)?));
                }
            }
        }
        let cut = |what: &str| MalformedRecording { line: last, what: what.to_owned() };
        match reading {
            Some((recording, _)) if ended => Ok(recording),
            Some(_) => Err(cut("it was cut off: its end is missing; record it again")),
            None => Err(cut("the file is empty")),
        }
    }

    /// How many events and marks it has.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.entries.len()
    }

    /// Adds inputs for rules: the longest history of each set of event types, commands that led to events, and the
    /// beginning of the stream.
    pub(crate) fn add_to(&self, given: &mut Given) {
        let mut histories: BTreeMap<&str, History> = BTreeMap::new();
        let mut stream = Vec::new();
        for entry in &self.entries {
            let Recorded::Event(event) = &entry.what else { continue };
            if stream.len() < MAX_OF_STREAM {
                stream.push(RecordedEvent::clone(event));
            }
            if let Some(entity) = &entry.entity {
                let empty = || History { entity: entity.id().to_owned(), events: Vec::new() };
                histories
                    .entry(entity.prefix())
                    .or_insert_with(empty)
                    .events
                    .push(RecordedEvent::clone(event));
            }
        }
        let mut histories: Vec<History> = histories.into_values().collect();
        histories.sort_by_key(|history| std::cmp::Reverse(history.events.len()));
        let mut seen = BTreeSet::new();
        histories.retain(|history| {
            let types: BTreeSet<_> = history
                .events
                .iter()
                .map(|event| (event.event.r#type.clone(), event.event.version))
                .collect();
            seen.len() < MAX_HISTORIES && seen.insert(types)
        });
        // A rejected command may have been unreadable, and rules treat unreadable commands differently.
        let accepted: BTreeSet<&str> = self
            .entries
            .iter()
            .filter_map(|entry| entry.cause.as_ref())
            .filter(|cause| cause.events > 0)
            .map(|cause| cause.command.as_str())
            .collect();
        let is_accepted = |command: &&Command| accepted.contains(command.id.as_str());
        let mut commands: Vec<&Command> = self.commands.values().filter(is_accepted).collect();
        commands.sort_by_key(|command| command.logged_at);
        let mut of_type: BTreeMap<&str, usize> = BTreeMap::new();
        for command in commands {
            let count = of_type.entry(command.r#type.as_str()).or_default();
            *count += 1;
            if *count <= MAX_OF_TYPE {
                given.commands.push(Template {
                    group: 0,
                    origin: Origin::Case,
                    entity: command.entity.id().to_owned(),
                    given: GivenCommand {
                        command: command.r#type.to_string(),
                        principal: command.principal.clone(),
                        metadata: serde_json::Map::new(),
                        data: read(&command.data),
                    },
                    unreadable: false,
                });
            }
        }
        given.histories.append(&mut histories);
        given.streams.push(stream);
    }

    fn command(&mut self, message: &Message, intake: &Intake) -> Result<(), String> {
        let incoming = Incoming {
            stream: Name::new("COMMANDS").map_err(|error| error.to_string())?,
            sequence: message.sequence,
            subject: message.subject.clone(),
            headers: message.headers(),
            payload: message.payload()?,
            stored_at: message.stored_at,
            attempt: 1,
        };
        // A command that cannot be decoded was never decided.
        if let Ok(command) = intake.decode(&incoming) {
            self.commands.insert(command.id.clone(), command);
        }
        Ok(())
    }

    fn event(&self, message: &Message) -> Result<RecordedEvent, String> {
        let stream: Arc<str> = self.header.stream.as_str().into();
        let (headers, payload) = (message.headers(), message.payload()?);
        recorded::read(&stream, message.sequence, message.stored_at, &headers, &payload)
            .map_err(|error| format!("message {} {error}", message.sequence))
    }

    fn add(&mut self, message: Message, intake: &Intake, what: Recorded) {
        let prefix = message.subject.rsplitn(3, '.').nth(2).unwrap_or_default();
        let entity = intake.routes().find_map(|(_, route)| route.template.entity_at(prefix));
        let Message { sequence, cause, .. } = message;
        self.entries.push(Entry { sequence, entity, cause, what });
    }
}
