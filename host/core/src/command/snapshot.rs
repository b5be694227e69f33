//! Snapshots: an entity as it was at one of its events, so that a load need not fold all that came before.
//!
//! A snapshot saves time and is never the truth: the events are. One that cannot be read, that is another entity's, or
//! that the stream does not go on from, is ignored, and all events are folded instead. It holds the whole past beside
//! the plugin's state: a retry of an old command is known from it as from the events.
//!
//! It is two lines of text. The first is `pelton-snapshot/3 <fingerprint>`: the version of the form, and the
//! fingerprint of the second, which is a JSON object:
//!
//! | field | what it is |
//! |---|---|
//! | `key` | which snapshot this is, see [`SnapshotKey`] |
//! | `takenBy` | the digest of the version of the plugin whose state it is |
//! | `last` | the id of the last event that it holds |
//! | `backlinks` | where the events lie, as in the header `Pelton-Backlinks`; the last sequence is that of `last` |
//! | `ends` | the commands that ended with events, in stream order, base64 of 28 bytes each: the first 16 of the SHA-256 of the command's id, the sequence of its first event (8 bytes, big endian) and how many there are (4 bytes) |
//! | `state` | the plugin's state, base64 |
//!
//! A command takes 38 bytes of it. Commands that ended without events are not in it: their marks are looked up.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::backlinks::Backlinks;
use crate::command::ends::{CommandKey, End, Ends};
use crate::command::history::EntityHistory;
use crate::command::ports::HandlerDescriptor;
use crate::id::Sequence;
use crate::message::Fingerprint;
use crate::subject::Entity;

/// The most bytes of a snapshot: it fits the server's default `max_payload` of 1 MiB. An entity that takes more, which
/// is one of about 26,000 commands, has none.
pub const MAX_SNAPSHOT_BYTES: usize = 1000 * 1024;

/// What a snapshot begins with. Another form gets another number.
const FORM: &str = "pelton-snapshot/3 ";

/// When a handler takes snapshots of its entities, if its plugin gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// After this many events since the last one.
    pub events: u64,
    /// Or after a load that took longer than this ...
    pub load_time: Duration,
    /// ... and folded at least this many events.
    pub load_events: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { events: 100, load_time: Duration::from_millis(50), load_events: 10 }
    }
}

/// Which snapshot: `<plugin>.v<state version>.<entity's prefix>`.
///
/// The plugin's name is its own, not the one in the configuration: it is the author who says what a state version
/// means, so a snapshot stays good when the plugin is renamed in the configuration, and is not taken for one of another
/// plugin that gets the old name there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotKey(String);

impl SnapshotKey {
    /// That of this entity, by this plugin.
    #[must_use]
    pub fn new(plugin: &HandlerDescriptor, entity: &Entity) -> Self {
        Self(format!("{}.v{}.{}", plugin.identity.name, plugin.state_version, entity.prefix()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The digest of the version of the plugin whose state it is.
    pub taken_by: String,
    /// The past that made the state.
    pub history: EntityHistory,
    /// The plugin's state.
    pub state: Vec<u8>,
}

/// The second line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    key: String,
    taken_by: String,
    last: String,
    backlinks: String,
    ends: String,
    state: String,
}

/// How many bytes one end takes before they are written as base64.
const END_BYTES: usize = 28;

/// Puts a state and the past that made it into a snapshot. The error says why there can be none.
pub fn encode(
    key: &SnapshotKey,
    taken_by: &str,
    past: &EntityHistory,
    state: &[u8],
) -> Result<Bytes, String> {
    let mut ends = Vec::with_capacity(past.ends.len() * END_BYTES);
    for (command, first, count) in past.ends.with_events() {
        ends.extend_from_slice(&command.0);
        ends.extend_from_slice(&first.0.to_be_bytes());
        ends.extend_from_slice(&count.to_be_bytes());
    }
    let form = Form {
        key: key.0.clone(),
        taken_by: taken_by.to_owned(),
        last: past.last_id.clone(),
        backlinks: past.backlinks.to_string(),
        ends: BASE64.encode(ends),
        state: BASE64.encode(state),
    };
    let body = serde_json::to_string(&form).map_err(|e| e.to_string())?;
    let snapshot = format!("{FORM}{}\n{body}", Fingerprint::of(&[body.as_bytes()]).0);
    if snapshot.len() > MAX_SNAPSHOT_BYTES {
        return Err(format!("it would have {} bytes; at most {MAX_SNAPSHOT_BYTES} are kept", snapshot.len()));
    }
    Ok(snapshot.into())
}

/// Reads a snapshot. The error says why it cannot be used.
pub fn decode(snapshot: &[u8], key: &SnapshotKey) -> Result<Snapshot, String> {
    let text = std::str::from_utf8(snapshot).map_err(|e| format!("it is not text: {e}"))?;
    let (first, body) = text.split_once('\n').ok_or("it has no second line")?;
    let fingerprint = first.strip_prefix(FORM).ok_or_else(|| format!("it does not begin with {FORM:?}"))?;
    if *Fingerprint::of(&[body.as_bytes()]).0 != *fingerprint {
        return Err("its fingerprint is another: it was changed or cut off".to_owned());
    }
    let form: Form = serde_json::from_str(body).map_err(|e| e.to_string())?;
    if form.key != key.0 {
        return Err(format!("it is {}, not {key}", form.key));
    }
    let backlinks = Backlinks::parse(&form.backlinks).map_err(|e| e.to_string())?;
    if backlinks.last().is_none() {
        return Err(format!("its backlinks {:?} have no last event", form.backlinks));
    }
    let bytes = |field: &str, text: &str| BASE64.decode(text).map_err(|e| format!("its {field}: {e}"));
    let ends = read_ends(&bytes("ends", &form.ends)?)?;
    let history = EntityHistory { backlinks, last_id: form.last, ends };
    Ok(Snapshot { taken_by: form.taken_by, history, state: bytes("state", &form.state)? })
}

fn read_ends(bytes: &[u8]) -> Result<Ends, String> {
    let mut ends = Ends::default();
    let (parts, rest) = bytes.as_chunks::<END_BYTES>();
    if !rest.is_empty() {
        return Err(format!("its ends have {} bytes, which is not a multiple of {END_BYTES}", bytes.len()));
    }
    for part in parts {
        let (command, rest) = part.split_first_chunk::<16>().ok_or("its ends are cut off")?;
        let (first, count) = rest.split_first_chunk::<8>().ok_or("its ends are cut off")?;
        let count: [u8; 4] = count.try_into().map_err(|_| "its ends are cut off")?;
        let (first, count) = (Sequence(u64::from_be_bytes(*first)), u32::from_be_bytes(count));
        ends.insert(CommandKey(*command), End::Events { first, count });
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::command::outcome::{Mark, MarkOutcome};
    use crate::command::ports::{Cause, EntityMessage, Links, Stored, StoredEvent, StoredMessage};
    use crate::id::{CommandId, CommandType};
    use crate::message::{Event, RecordedEvent};
    use crate::plugin::Identity;
    use crate::subject::EntityTemplate;
    use crate::time::Timestamp;

    fn key(state_version: u32, number: &str) -> SnapshotKey {
        let identity = Identity { name: "account".to_owned(), version: "1.0.0".to_owned() };
        let plugin = HandlerDescriptor {
            identity,
            commands: Vec::new(),
            emits: Vec::new(),
            folds: Vec::new(),
            rejections: Vec::new(),
            state_version,
            decides_ahead: false,
        };
        let template = EntityTemplate::parse("account.{number}").unwrap();
        SnapshotKey::new(&plugin, &template.entity(&BTreeMap::from([("number", number.to_owned())])).unwrap())
    }

    fn event(id: &str, sequence: u64) -> RecordedEvent {
        let event = Event {
            id: id.to_owned(),
            source: "/account/1".to_owned(),
            r#type: "deposited".to_owned(),
            version: 2,
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        };
        let sequence = Sequence(sequence);
        RecordedEvent { event, stream: "bank".into(), sequence, part: 0, recorded_at: Timestamp::default() }
    }

    fn cause(id: &str) -> Cause {
        Cause {
            command: CommandId::new(id).unwrap(),
            fingerprint: Fingerprint::of(&[id.as_bytes()]),
            logged_at: Sequence(1),
            events: if id == "a" { 2 } else { 1 },
            decided_by: String::new(),
        }
    }

    fn links(backlinks: &str) -> Links {
        Links { backlinks: Backlinks::parse(backlinks).unwrap(), cause: cause("c"), held: false }
    }

    fn past() -> EntityHistory {
        let mut past = EntityHistory::default();
        for (id, sequence, command) in
            [("a:0", 3, Some("a")), ("a:1", 4, Some("a")), ("somebody's", 9, None), ("b:0", 12, Some("b"))]
        {
            past.push(&event(id, sequence), command.map(cause).as_ref());
        }
        past
    }

    #[test]
    fn everything_comes_back_but_the_marks() {
        let (key, past) = (key(1, "1"), past());
        let mut with_marks = past.clone();
        with_marks.push_mark(&CommandId::new("rejected").unwrap());
        let snapshot = encode(&key, "sha256:0", &with_marks, b"\0state\xff").unwrap();
        let taken_by = "sha256:0".to_owned();
        assert_eq!(
            decode(&snapshot, &key),
            Ok(Snapshot { taken_by, history: past, state: b"\0state\xff".to_vec() })
        );
    }

    #[test]
    fn what_is_not_this_snapshot_is_refused_with_the_reason() {
        let snapshot = encode(&key(1, "1"), "sha256:0", &past(), b"state").unwrap();
        let refused = |bytes: &[u8], key: SnapshotKey, part: &str| {
            let why = decode(bytes, &key).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        refused(&snapshot, key(1, "2"), "it is account.v1.account.1, not account.v1.account.2");
        refused(&snapshot, key(2, "1"), "it is account.v1.account.1, not account.v2.account.1");
        let mut other_form = snapshot.to_vec();
        other_form[FORM.len() - 2] = b'1';
        refused(&other_form, key(1, "1"), "does not begin with");
        let none = encode(&key(1, "1"), "sha256:0", &EntityHistory::default(), b"state").unwrap();
        refused(&none, key(1, "1"), "have no last event");
    }

    #[test]
    fn no_byte_can_be_lost_or_changed() {
        let key = key(1, "1");
        let snapshot = encode(&key, "sha256:0", &past(), b"state").unwrap();
        for at in 0..snapshot.len() {
            assert!(decode(&snapshot[..at], &key).is_err(), "cut off at {at}");
            let mut changed = snapshot.to_vec();
            changed[at] ^= 1;
            assert!(decode(&changed, &key).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn twenty_five_thousand_commands_fit_and_many_more_do_not() {
        let key = key(1, "1");
        let mut past = EntityHistory::default();
        for n in 0..28_000 {
            let command = format!("{n:0>36}");
            past.push(&event(&format!("{command}:0"), 1_000_000_000 + n), Some(&cause(&command)));
            if n == 25_000 {
                encode(&key, "sha256:0", &past, &[0; 32 * 1024]).unwrap();
            }
        }
        let why = encode(&key, "sha256:0", &past, b"state").unwrap_err();
        assert!(why.contains("at most 1024000 are kept"), "{why}");
    }

    #[test]
    fn a_past_joins_only_the_stream_that_it_was_taken_from() {
        let past = past();
        let numbered = |id: &str, sequence: u64, before: Option<&str>| Stored {
            sequence: Sequence(sequence),
            links: before.map(links),
            body: event(id, sequence),
        };
        let last = numbered("b:0", 12, Some("3;3,4,9"));
        let next = numbered("c:0", 20, Some("4;3,4,9,12"));
        let foreign = numbered("by somebody", 17, None);
        assert_eq!(past.joins(std::slice::from_ref(&last)), Ok(()));
        assert_eq!(past.joins(&[last.clone(), next.clone()]), Ok(()));
        assert_eq!(past.joins(&[last.clone(), foreign]), Ok(()));
        for (events, part) in [
            (vec![], "no event of the entity at sequence 12"),
            (vec![next.clone()], "no event of the entity at sequence 12"),
            (vec![numbered("other", 12, Some("3;3,4,9"))], "is \"other\", not \"b:0\""),
            (vec![numbered("b:0", 12, Some("2;3,4"))], "message 12 counts 2 events before it, not 3"),
            (
                vec![last.clone(), numbered("d:0", 25, Some("5;3,4,9,12,20"))],
                "counts 5 events before it, not 4",
            ),
        ] {
            let why = past.joins(&events).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        let mark = |sequence| StoredMessage {
            sequence: Sequence(sequence),
            links: Some(links("4;3,4,9,12")),
            body: EntityMessage::Mark(Box::new(Mark {
                command_id: CommandId::new("m").unwrap(),
                command_type: CommandType::new("deposit").unwrap(),
                entity: "1".to_owned(),
                correlation_id: "m".to_owned(),
                fingerprint: Fingerprint::of(&[]),
                decided_by: String::new(),
                time: Timestamp::default(),
                outcome: MarkOutcome::Accepted { events: 0 },
            })),
        };
        let event = |event: &StoredEvent| StoredMessage {
            sequence: event.sequence,
            links: event.links.clone(),
            body: EntityMessage::Event(event.body.clone()),
        };
        assert_eq!(past.goes_on_in(&[event(&last), mark(15), event(&next)]), Ok(()));
        let why = past.goes_on_in(&[mark(15), event(&next)]).unwrap_err();
        assert!(why.contains("no event of the entity at sequence 12"), "{why}");
    }
}
