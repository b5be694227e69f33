//! What a plugin decided, checked against what it declared, and made into messages to store.

use std::time::Duration;

use crate::cloudevents::{CAUSATION_ID, CORRELATION_ID, DEPTH, TRACEPARENT, is_plugin_extension};
use crate::command::backlinks::Backlinks;
use crate::command::outcome::{Mark, MarkOutcome};
use crate::command::ports::{Cause, EntityMessage, HandlerDescriptor, Links, NewMessage};
use crate::contract::{MAX_ATTRIBUTE_BYTES, MAX_DECISION_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, MAX_EXTENSIONS};
use crate::message::{Command, Event, NewEvent, RecordedEvent, Rejection};
use crate::text::{bounded, excerpt};

/// Checks a decision against the plugin's descriptor and the limits of the contract. The error says what is wrong.
pub fn check(events: &[NewEvent], descriptor: &HandlerDescriptor) -> Result<(), String> {
    if events.len() > MAX_EVENTS {
        return Err(format!("it decided {} events; at most {MAX_EVENTS} are allowed", events.len()));
    }
    let bytes: usize = events.iter().map(|e| e.data.len()).sum();
    if bytes > MAX_DECISION_BYTES {
        return Err(format!(
            "its events have {bytes} bytes together; at most {MAX_DECISION_BYTES} are allowed"
        ));
    }
    events.iter().try_for_each(|event| check_event(event, descriptor))
}

/// Checks a rejection's code against the plugin's descriptor. The error says what is wrong.
pub fn check_code(code: &str, descriptor: &HandlerDescriptor) -> Result<(), String> {
    if code == Rejection::INVALID_COMMAND || descriptor.rejections.iter().any(|declared| declared == code) {
        return Ok(());
    }
    Err(format!(
        "it rejects with the code {:?}, which its descriptor does not list in `rejections`",
        excerpt(code)
    ))
}

/// Checks that the plugin can fold these events of an entity. The error says which one it cannot.
pub fn check_history(events: &[RecordedEvent], descriptor: &HandlerDescriptor) -> Result<(), String> {
    // A list without types is one of all types elsewhere.
    let folds = |event: &Event| !descriptor.folds.is_empty() && event.is_of(&descriptor.folds);
    match events.iter().find(|recorded| !folds(&recorded.event)) {
        None => Ok(()),
        Some(RecordedEvent { event, stream, sequence, .. }) => Err(format!(
            "the entity has an event of type {:?} version {} (stream {stream}, sequence {sequence}), which its \
             descriptor does not list in `folds`: a plugin has to fold every event that its entities have",
            excerpt(&event.r#type),
            event.version
        )),
    }
}

fn check_event(event: &NewEvent, descriptor: &HandlerDescriptor) -> Result<(), String> {
    let NewEvent { r#type, version, extensions, data, datacontenttype } = event;
    let declared = descriptor.emits.iter().any(|t| t.r#type == *r#type && t.version == *version);
    let r#type = excerpt(r#type);
    if !declared {
        return Err(format!(
            "it decided an event of type {type:?} version {version}, which its descriptor does not list in `emits`"
        ));
    }
    if data.len() > MAX_EVENT_BYTES {
        return Err(format!(
            "its event {type:?} has {} bytes; at most {MAX_EVENT_BYTES} are allowed",
            data.len()
        ));
    }
    if extensions.len() > MAX_EXTENSIONS {
        return Err(format!(
            "its event {type:?} has {} extensions; at most {MAX_EXTENSIONS} are allowed",
            extensions.len()
        ));
    }
    let mut names: Vec<&str> = extensions.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("its event {type:?} has the extension {:?} twice", excerpt(pair[0])));
    }
    let values = extensions.iter().map(|(_, value)| value).chain(datacontenttype);
    if let Some(long) = values.map(String::len).find(|len| *len > MAX_ATTRIBUTE_BYTES) {
        return Err(format!(
            "its event {type:?} has an attribute of {long} bytes; at most {MAX_ATTRIBUTE_BYTES} are allowed"
        ));
    }
    match names.iter().find(|name| !is_plugin_extension(name)) {
        Some(name) => {
            let name = excerpt(name);
            Err(format!("its event {type:?} has the extension {name:?}, a name that it may not use"))
        }
        None => Ok(()),
    }
}

/// What follows from a command.
#[derive(Debug)]
pub enum Decision {
    /// These events.
    Events(Vec<NewEvent>),
    /// No event, but a mark that says what became of it.
    Mark(MarkOutcome),
}

impl Decision {
    /// Accepted, without events.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Mark(MarkOutcome::Accepted { events: 0 })
    }

    /// Refused by a rule of the domain.
    #[must_use]
    pub fn rejected(rejection: Rejection) -> Self {
        Self::Mark(MarkOutcome::Rejected { rejection })
    }

    /// Set aside as a dead letter. Of a long cause the beginning is kept.
    #[must_use]
    pub fn failed(cause: &str) -> Self {
        Self::Mark(MarkOutcome::Failed { cause: bounded(cause).to_owned() })
    }

    /// How many messages it takes.
    #[must_use]
    pub fn messages(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            Self::Mark(_) => 1,
        }
    }

    /// How many bytes its events have.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        match self {
            Self::Events(events) => events.iter().map(|event| event.data.len()).sum(),
            Self::Mark(_) => 0,
        }
    }

    /// Whether the command was set aside.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Mark(MarkOutcome::Failed { .. }))
    }
}

/// Who decides, and where the entity stands that the messages are for.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The handler's name in the configuration.
    pub handler: &'a str,
    /// The digest of the handler's component.
    pub digest: &'a str,
    /// How long the mark of a command that has ended is kept.
    pub keep: Duration,
    /// Whether the entity's later commands wait behind its dead letters.
    pub held: bool,
}

/// Messages of one entity that are stored together, one behind the other.
#[derive(Debug)]
pub struct Batch<'a> {
    author: Author<'a>,
    /// The entity's events before the batch.
    backlinks: &'a Backlinks,
    messages: Vec<NewMessage>,
    /// Which of the messages are events.
    events: Vec<u32>,
}

impl<'a> Batch<'a> {
    /// An empty batch for the entity that has these events.
    #[must_use]
    pub fn new(author: Author<'a>, backlinks: &'a Backlinks) -> Self {
        Self { author, backlinks, messages: Vec::new(), events: Vec::new() }
    }

    /// Adds a command's end: its checked events, complete with ids, source, time, cause and process, or its mark.
    pub fn push(&mut self, command: &Command, decision: Decision) {
        match decision {
            Decision::Events(events) => {
                let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
                for (n, event) in (0u32..).zip(events) {
                    let event = self.event(command, n, event);
                    self.add(command, count, EntityMessage::Event(event), None);
                }
            }
            Decision::Mark(outcome) => {
                // What a dead letter may still change is kept until it has.
                let keep = (outcome.is_final() || !self.author.held).then_some(self.author.keep);
                let mark = Mark::new(command, self.author.digest, outcome);
                self.add(command, 0, EntityMessage::Mark(Box::new(mark)), keep);
            }
        }
    }

    fn add(&mut self, command: &Command, events: u32, body: EntityMessage<Event>, keep: Option<Duration>) {
        let place = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let backlinks = self.backlinks.in_batch(self.events.iter().map(|event| place - event));
        let cause = cause(command, self.author.digest, events);
        if matches!(body, EntityMessage::Event(_)) {
            self.events.push(place);
        }
        let links = Links { backlinks, cause, held: self.author.held };
        self.messages.push(NewMessage { links, body, keep });
    }

    fn event(&self, command: &Command, n: u32, event: NewEvent) -> Event {
        let (entity, author) = (&command.entity, self.author);
        let traceparent = command.traceparent.as_deref().map(|t| (TRACEPARENT, t));
        let depth = (command.depth > 0).then(|| command.depth.to_string());
        let ours = [(CORRELATION_ID, command.correlation_id.as_str()), (CAUSATION_ID, command.id.as_str())]
            .into_iter()
            .chain(traceparent)
            .chain(depth.as_deref().map(|depth| (DEPTH, depth)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Event {
            id: [command.id.as_str(), ":", &n.to_string()].concat(),
            source: ["/", author.handler, "/", entity.id()].concat(),
            r#type: event.r#type,
            version: event.version,
            subject: Some(entity.id().to_owned()),
            time: Some(command.time),
            datacontenttype: Some(event.datacontenttype.unwrap_or_else(|| "application/json".to_owned())),
            dataschema: None,
            extensions: ours.chain(event.extensions).collect(),
            data: event.data,
        }
    }

    /// The messages so far.
    #[must_use]
    pub fn messages(&self) -> &[NewMessage] {
        &self.messages
    }

    /// The messages, in order.
    #[must_use]
    pub fn into_messages(self) -> Vec<NewMessage> {
        self.messages
    }
}

fn cause(command: &Command, digest: &str, events: u32) -> Cause {
    Cause {
        command: command.id.clone(),
        fingerprint: command.fingerprint.clone(),
        logged_at: command.logged_at,
        events,
        decided_by: digest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::cloudevents::RESERVED;
    use bytes::Bytes;

    use super::*;
    use crate::message::EventType;
    use crate::plugin::Identity;

    fn event(bytes: usize) -> NewEvent {
        NewEvent {
            r#type: "done".to_owned(),
            version: 1,
            datacontenttype: None,
            extensions: Vec::new(),
            data: Bytes::from(vec![b'x'; bytes]),
        }
    }

    fn with(extensions: &[(&str, &str)]) -> NewEvent {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        NewEvent { extensions: extensions.iter().map(owned).collect(), ..event(1) }
    }

    fn with_so_many(extensions: usize) -> NewEvent {
        NewEvent {
            extensions: (0..extensions).map(|n| (format!("x{n}"), String::new())).collect(),
            ..event(1)
        }
    }

    /// Checks decisions one by one; a refusal says the given part.
    fn checked(cases: impl IntoIterator<Item = (Vec<NewEvent>, Option<&'static str>)>) {
        let descriptor = HandlerDescriptor {
            identity: Identity { name: "plugin".to_owned(), version: "1.0.0".to_owned() },
            commands: Vec::new(),
            emits: vec![EventType { r#type: "done".to_owned(), version: 1 }],
            folds: Vec::new(),
            rejections: Vec::new(),
            state_version: 1,
            decides_ahead: false,
        };
        for (n, (events, expected)) in cases.into_iter().enumerate() {
            match (check(&events, &descriptor), expected) {
                (Ok(()), None) => {}
                (Err(what), Some(part)) => {
                    assert!(
                        what.contains(part) && what.len() < 400,
                        "case {n}: {part:?} is not said in: {what}"
                    );
                }
                (found, expected) => panic!("case {n}: expected {expected:?}, found {found:?}"),
            }
        }
    }

    #[test]
    fn a_decision_has_so_many_events_and_bytes() {
        let half = MAX_DECISION_BYTES / 2;
        checked([
            (Vec::new(), None),
            (vec![event(1); MAX_EVENTS], None),
            (vec![event(1); MAX_EVENTS + 1], Some("it decided 101 events; at most 100")),
            (vec![event(MAX_EVENT_BYTES)], None),
            (vec![event(1), event(MAX_EVENT_BYTES + 1)], Some("\"done\" has 524289 bytes; at most 524288")),
            (vec![event(half), event(half)], None),
            (vec![event(half), event(half), event(1)], Some("921601 bytes together; at most 921600")),
        ]);
    }

    #[test]
    fn an_event_is_of_a_type_and_version_that_the_plugin_declares() {
        let of = |name: &str, version| vec![NewEvent { r#type: name.to_owned(), version, ..event(1) }];
        checked([
            (of("done", 1), None),
            (of("done", 2), Some("\"done\" version 2, which its descriptor does not list in `emits`")),
            (of("Done", 1), Some("\"Done\" version 1")),
            (of("", 1), Some("\"\" version 1")),
            (of(&"é".repeat(600_000), 1), Some("éé\" version 1")),
            (of(&"\0".repeat(1_100_000), 1), Some("version 1, which its descriptor does not list")),
        ]);
    }

    #[test]
    fn an_event_has_few_extensions_with_names_of_its_own() {
        let long = "x".repeat(MAX_ATTRIBUTE_BYTES + 1);
        let long_media_type = NewEvent { datacontenttype: Some(long.clone()), ..event(1) };
        checked([
            (vec![with_so_many(MAX_EXTENSIONS)], None),
            (vec![with_so_many(MAX_EXTENSIONS + 1)], Some("has 65 extensions; at most 64")),
            (vec![with(&[("a", "1"), ("b", "2")]), with(&[("a", "1")])], None),
            (vec![with(&[("a", "1"), ("b", "2"), ("a", "3")])], Some("the extension \"a\" twice")),
            (vec![with(&[("a", &long[1..])])], None),
            (vec![with(&[("a", &long)])], Some("an attribute of 4097 bytes; at most 4096")),
            (vec![long_media_type], Some("an attribute of 4097 bytes; at most 4096")),
            (vec![with(&[(&"n".repeat(1_000_000), "")])], Some("nnn\", a name that it may not use")),
        ]);
        let names = RESERVED.into_iter().chain([
            "",
            "Tenant",
            "tenant-id",
            "größe",
            "twentyonecharacters21",
            "pelton",
            "peltonkey",
        ]);
        checked(names.map(|name| (vec![with(&[(name, "x")])], Some("a name that it may not use"))));
        checked([(vec![with(&[("twentycharacters0020", "x"), ("tenant", "x")])], None)]);
    }
}
