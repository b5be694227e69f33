//! The stored form of an instance: one message, which every reaction replaces as a whole.
//!
//! It says which timers are armed: a timer that goes off and is not armed here changes nothing.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, InputKey, Position, Sequence};
use crate::message::Metadata;
use crate::time::Timestamp;

/// The most reactions that an instance remembers, for people.
pub const MAX_RECENT: usize = 16;
/// The most bytes of one text of a remembered reaction.
const MAX_RECENT_BYTES: usize = 200;

/// An instance as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    /// The last handled message of each stream: of events, and of the saga's own stream.
    pub handled: BTreeMap<String, Position>,
    /// The input that started it. `None` if it was never started.
    pub life: Option<InputKey>,
    /// The plugin's state. `None` once the instance has ended.
    pub state: Option<Vec<u8>>,
    /// The version of the state's form, from the plugin that wrote it.
    pub state_version: u32,
    /// The digest of the plugin that wrote it.
    pub digest: String,
    /// How many timers it has set and outcomes it has got in this life. Each gets its number from this.
    pub numbered: u64,
    /// The process that its last input belonged to.
    pub correlation_id: String,
    /// The commands of the last reaction that sent any.
    pub outbox: Vec<OutgoingCommand>,
    /// The metadata that these commands share: correlation, causation, trace and depth.
    pub process: Metadata,
    /// The message that led to them. They are sent before it is settled.
    pub outbox_of: Option<Place>,
    /// The commands that have no final outcome yet, by [`CommandId::in_instance`]. Empty if the saga takes no outcomes.
    pub open: BTreeMap<String, OpenCommand>,
    /// The timers that are set, by their ids.
    pub timers: BTreeMap<String, ArmedTimer>,
    /// The dead letter of an input that could not be handled. Later inputs are parked behind it, as long as the
    /// instance has dead letters.
    pub quarantined_by: Option<String>,
    /// The last reactions, for people.
    pub recent: VecDeque<Turn>,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The stream.
    pub stream: String,
    /// The message's sequence.
    pub sequence: Sequence,
}

/// A command with its final id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingCommand {
    /// See [`CommandId::of_saga`].
    pub id: CommandId,
    /// Its type.
    pub r#type: String,
    /// The plugin's name for it. The handler does not see it.
    pub reference: Option<String>,
    /// The media type of the data.
    pub datacontenttype: String,
    /// The metadata that the plugin gave it.
    pub extensions: Metadata,
    /// The payload.
    pub data: Bytes,
}

/// A command that has no final outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpenCommand {
    /// Its type.
    pub r#type: String,
    /// Whether it is a dead letter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub set_aside: bool,
}

/// A timer that is set. Its data lie in its own message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArmedTimer {
    /// Its type.
    pub r#type: String,
    /// When it goes off.
    pub due: Timestamp,
    /// Tells it from every other timer of the instance, in every life.
    pub key: InputKey,
}

/// A reaction, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Turn {
    /// The time of the input.
    pub time: Timestamp,
    /// The input's id.
    pub input: String,
    /// The input: the type of an event, the id of a timer, or how a command ended.
    pub what: String,
    /// The effects: the types of commands, the changes of timers, and the end of the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

impl Instance {
    /// Whether there was an instance, which has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.is_none() && self.life.is_some()
    }

    /// Whether the instance has handled this place of a stream, or a later one.
    #[must_use]
    pub fn has_handled(&self, stream: &str, position: Position) -> bool {
        self.handled.get(stream).is_some_and(|handled| *handled >= position)
    }

    /// The next number of a timer or an outcome.
    pub(super) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// Remembers a reaction, and forgets the oldest.
    pub(super) fn remember(&mut self, turn: Turn) {
        let cut = |text: String| text[..text.floor_char_boundary(MAX_RECENT_BYTES)].to_owned();
        let then = turn.then.into_iter().take(MAX_RECENT).map(cut).collect();
        self.recent.push_back(Turn { what: cut(turn.what), then, ..turn });
        while self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
    }

    /// The message: a line of JSON, then the state and the data of the commands as they are.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn to_bytes(&self) -> Result<Bytes, String> {
        let commands = self.outbox.iter().map(|command| Sent {
            id: command.id.clone(),
            r#type: command.r#type.clone(),
            reference: command.reference.clone(),
            datacontenttype: command.datacontenttype.clone(),
            extensions: command.extensions.clone(),
            data_bytes: command.data.len(),
        });
        let head = Head {
            handled: self.handled.clone(),
            life: self.life.clone(),
            state_bytes: self.state.as_ref().map(Vec::len),
            state_version: self.state_version,
            digest: self.digest.clone(),
            numbered: self.numbered,
            correlation_id: self.correlation_id.clone(),
            process: self.process.clone(),
            outbox: commands.collect(),
            outbox_of: self.outbox_of.clone(),
            open: self.open.clone(),
            timers: self.timers.clone(),
            quarantined_by: self.quarantined_by.clone(),
            recent: self.recent.clone(),
        };
        let mut bytes = serde_json::to_vec(&head).map_err(|error| error.to_string())?;
        bytes.push(b'\n'); // the JSON before it has no line break
        bytes.extend(self.state.iter().flatten());
        self.outbox.iter().for_each(|command| bytes.extend_from_slice(&command.data));
        Ok(bytes.into())
    }

    /// Reads the message.
    ///
    /// # Errors
    /// The message is not an instance.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, String> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no line of JSON")?;
        let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|error| error.to_string())?;
        let mut rest = bytes.slice(end + 1..);
        let mut take = |length: usize| match length <= rest.len() {
            true => Ok(rest.split_to(length)),
            false => Err("it is cut off".to_owned()),
        };
        let state = head.state_bytes.map(&mut take).transpose()?.map(Vec::from);
        let outbox = head.outbox.into_iter().map(|sent| {
            Ok(OutgoingCommand {
                id: sent.id,
                r#type: sent.r#type,
                reference: sent.reference,
                datacontenttype: sent.datacontenttype,
                extensions: sent.extensions,
                data: take(sent.data_bytes)?,
            })
        });
        Ok(Self {
            outbox: outbox.collect::<Result<_, String>>()?,
            handled: head.handled,
            life: head.life,
            state,
            state_version: head.state_version,
            digest: head.digest,
            numbered: head.numbered,
            correlation_id: head.correlation_id,
            process: head.process,
            outbox_of: head.outbox_of,
            open: head.open,
            timers: head.timers,
            quarantined_by: head.quarantined_by,
            recent: head.recent,
        })
    }
}

/// The line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    handled: BTreeMap<String, Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<InputKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_bytes: Option<usize>,
    state_version: u32,
    digest: String,
    numbered: u64,
    correlation_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    process: Metadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outbox: Vec<Sent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outbox_of: Option<Place>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    open: BTreeMap<String, OpenCommand>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    timers: BTreeMap<String, ArmedTimer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quarantined_by: Option<String>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    recent: VecDeque<Turn>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sent {
    id: CommandId,
    r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    datacontenttype: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extensions: Metadata,
    data_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{
        MAX_ATTRIBUTE_BYTES, MAX_COMMANDS, MAX_COMMANDS_BYTES, MAX_INSTANCE_BYTES, MAX_INSTANCE_STATE_BYTES,
        MAX_NAME_BYTES,
    };
    use crate::id::MAX_TOKEN_BYTES;
    use crate::saga::{MAX_OPEN_COMMANDS, MAX_TIMERS};

    /// R16: 100 commands of 512 KiB were allowed, and no server would take them.
    #[test]
    fn the_largest_instance_fits_the_largest_message_of_a_server_and_comes_back() {
        const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
        let attribute = |name: &str| (name.to_owned(), "x".repeat(MAX_ATTRIBUTE_BYTES));
        let position = Position { sequence: Sequence(u64::MAX), part: u32::MAX };
        let key = InputKey::of_timer(&InputKey::of_event(&"s".repeat(48), position), u64::MAX);
        let command = OutgoingCommand {
            id: CommandId::new("i".repeat(MAX_TOKEN_BYTES)).unwrap(),
            r#type: "t".repeat(MAX_NAME_BYTES),
            reference: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: vec![b'\n'; MAX_COMMANDS_BYTES / MAX_COMMANDS].into(),
        };
        let open = OpenCommand { r#type: "t".repeat(MAX_NAME_BYTES), set_aside: true };
        let timer =
            ArmedTimer { r#type: "t".repeat(MAX_NAME_BYTES), due: Timestamp(u64::MAX), key: key.clone() };
        let id = |n: usize| format!("{n:0>MAX_INSTANCE_BYTES$}");
        let mut instance = Instance {
            handled: BTreeMap::from([("s".repeat(48), position), ("o".repeat(53), position)]),
            life: Some(key.clone()),
            state: Some(vec![b'\n'; MAX_INSTANCE_STATE_BYTES]),
            state_version: u32::MAX,
            digest: "d".repeat(100),
            numbered: u64::MAX,
            correlation_id: "x".repeat(MAX_ATTRIBUTE_BYTES),
            process: ["correlationid", "causationid", "traceparent"].map(attribute).to_vec(),
            outbox: vec![command; MAX_COMMANDS],
            outbox_of: Some(Place { stream: "s".repeat(53), sequence: Sequence(u64::MAX) }),
            open: (0..MAX_OPEN_COMMANDS).map(|n| (format!("{key}:{n}"), open.clone())).collect(),
            timers: (0..MAX_TIMERS).map(|n| (id(n), timer.clone())).collect(),
            quarantined_by: Some("d".repeat(1024)),
            recent: VecDeque::new(),
        };
        for _ in 0..=MAX_RECENT {
            let text = "é".repeat(MAX_RECENT_BYTES);
            let then = vec![text.clone(); MAX_COMMANDS];
            let input = key.to_string();
            instance.remember(Turn { time: Timestamp(u64::MAX), input, what: text, then });
        }
        let bytes = instance.to_bytes().unwrap();
        assert!(bytes.len() < MAX_PAYLOAD_BYTES - 16 * 1024, "{}", bytes.len());
        assert_eq!(Instance::from_bytes(&bytes), Ok(instance));
        assert_eq!(Instance::from_bytes(&bytes.slice(..bytes.len() - 1)), Err("it is cut off".to_owned()));
    }
}
