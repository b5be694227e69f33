//! Snapshots: an entity as it was at one of its events, so that a load need not fold all that came before.
//!
//! A snapshot saves time and is never the truth: the events are. One that cannot be read, that is another entity's, or
//! that the stream does not go on from, is ignored, and all events are folded instead. It holds the whole past beside
//! the plugin's state: a retry of an old command is known from it as from the events.
//!
//! It is two lines of text. The first is `pelton-snapshot/1 <fingerprint>`: the version of the form, and the
//! fingerprint of the second, which is a JSON object:
//!
//! | field | what it is |
//! |---|---|
//! | `key` | which snapshot this is, see [`SnapshotKey`] |
//! | `last` | the id of the last event that it holds |
//! | `history` | where the events lie, as in the header `Pelton-Backlinks`; the last sequence is that of `last` |
//! | `types` | the types of the events below: `["room-booked",1]` is version 1 of `room-booked` |
//! | `effects` | for each command, in the order of the events, its id, its fingerprint and its events: `["c1","0f…",[[0,17],[1,18]]]` are one of the first and one of the second type, at sequences 17 and 18. Their ids are `c1:0` and `c1:1`; where one is another, it comes third |
//! | `state` | the plugin's state, base64 |
//!
//! With ids of 36 characters a command with one event takes about 90 bytes of it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::backlinks::Backlinks;
use crate::command::history::{Effect, EntityHistory};
use crate::command::outcome::EventRef;
use crate::command::ports::HandlerDescriptor;
use crate::id::{CommandId, Sequence};
use crate::message::Fingerprint;
use crate::subject::Entity;

/// The most bytes of a snapshot: it fits the server's default `max_payload` of 1 MiB. An entity that takes more, which
/// is one of about 11,000 commands, has none.
pub const MAX_SNAPSHOT_BYTES: usize = 1000 * 1024;

/// What a snapshot begins with. Another form gets another number.
const FORM: &str = "pelton-snapshot/1 ";

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

/// The second line.
#[derive(Serialize, Deserialize)]
struct Form {
    key: String,
    last: String,
    history: String,
    types: Vec<(String, u32)>,
    effects: Vec<(CommandId, Fingerprint, Vec<EventForm>)>,
    state: String,
}

/// An event by the place of its type in `types`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EventForm {
    /// Its id is `<command>:<n>`, n counting the command's events from 0.
    Plain(usize, Sequence),
    Named(usize, Sequence, String),
}

fn plain_id(command: &CommandId, n: usize) -> String {
    format!("{command}:{n}")
}

/// Puts a state and the past that made it into a snapshot. The error says why there can be none.
pub fn encode(key: &SnapshotKey, past: &EntityHistory, state: &[u8]) -> Result<Bytes, String> {
    let mut types: Vec<(String, u32)> = Vec::new();
    let mut type_at = |event: &EventRef| {
        let is_its = |(r#type, version): &(String, u32)| *r#type == event.r#type && *version == event.version;
        types.iter().position(is_its).unwrap_or_else(|| {
            types.push((event.r#type.clone(), event.version));
            types.len() - 1
        })
    };
    let mut effects: Vec<_> = past.effects.iter().collect();
    effects.sort_by_key(|(_, effect)| effect.events.first().map(|event| event.sequence));
    let effects = effects.into_iter().map(|(command, effect)| {
        let events = effect.events.iter().enumerate().map(|(n, event)| {
            let r#type = type_at(event);
            match event.id == plain_id(command, n) {
                true => EventForm::Plain(r#type, event.sequence),
                false => EventForm::Named(r#type, event.sequence, event.id.clone()),
            }
        });
        (command.clone(), effect.fingerprint.clone(), events.collect())
    });
    let effects = effects.collect();
    let form = Form {
        key: key.0.clone(),
        last: past.last_id.clone(),
        history: past.history.to_string(),
        types,
        effects,
        state: BASE64.encode(state),
    };
    let body = serde_json::to_string(&form).map_err(|e| e.to_string())?;
    let snapshot = format!("{FORM}{}\n{body}", Fingerprint::of(&[body.as_bytes()]).0);
    if snapshot.len() > MAX_SNAPSHOT_BYTES {
        return Err(format!("it would have {} bytes; at most {MAX_SNAPSHOT_BYTES} are kept", snapshot.len()));
    }
    Ok(snapshot.into())
}

/// The past and the state in a snapshot of an entity whose events are in this stream. The error says why it cannot be
/// used.
pub fn decode(snapshot: &[u8], key: &SnapshotKey, stream: &str) -> Result<(EntityHistory, Vec<u8>), String> {
    let text = std::str::from_utf8(snapshot).map_err(|e| format!("it is no text: {e}"))?;
    let (first, body) = text.split_once('\n').ok_or("it has no second line")?;
    let fingerprint = first.strip_prefix(FORM).ok_or_else(|| format!("it does not begin with {FORM:?}"))?;
    if *Fingerprint::of(&[body.as_bytes()]).0 != *fingerprint {
        return Err("its fingerprint is another: it was changed or cut off".to_owned());
    }
    let form: Form = serde_json::from_str(body).map_err(|e| e.to_string())?;
    if form.key != key.0 {
        return Err(format!("it is {}, not {key}", form.key));
    }
    let history = Backlinks::parse(&form.history).map_err(|e| e.to_string())?;
    if history.last().is_none() {
        return Err(format!("its history {:?} has no last event", form.history));
    }
    let event = |command: &CommandId, n: usize, event: EventForm| {
        let (at, sequence, id) = match event {
            EventForm::Plain(at, sequence) => (at, sequence, plain_id(command, n)),
            EventForm::Named(at, sequence, id) => (at, sequence, id),
        };
        let (r#type, version) = form.types.get(at).cloned().ok_or_else(|| format!("it has no type {at}"))?;
        Ok::<_, String>(EventRef { id, r#type, version, stream: stream.to_owned(), sequence })
    };
    let effects = form.effects.into_iter().map(|(command, fingerprint, events)| {
        let events = events.into_iter().enumerate().map(|(n, form)| event(&command, n, form));
        let events = events.collect::<Result<_, _>>()?;
        Ok::<_, String>((command, Effect { fingerprint, events }))
    });
    let effects = effects.collect::<Result<_, _>>()?;
    let state = BASE64.decode(&form.state).map_err(|e| format!("its state: {e}"))?;
    Ok((EntityHistory { history, last_id: form.last, effects }, state))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::command::ports::{Cause, StoredEvent};
    use crate::message::{Event, RecordedEvent};
    use crate::plugin::Identity;
    use crate::subject::EntityTemplate;
    use crate::time::Timestamp;

    fn key(state_version: u32, number: &str) -> SnapshotKey {
        let identity = Identity { name: "account".to_owned(), version: "1.0.0".to_owned() };
        let plugin = HandlerDescriptor {
            identity,
            commands: Vec::new(),
            events: Vec::new(),
            state_version,
            decides_ahead: false,
        };
        let template = EntityTemplate::parse("account.{number}").unwrap();
        SnapshotKey::new(&plugin, &template.entity(&BTreeMap::from([("number", number.to_owned())])).unwrap())
    }

    fn event(id: &str, r#type: &str, sequence: u64, command: Option<&str>) -> StoredEvent {
        let event = Event {
            id: id.to_owned(),
            source: "/account/1".to_owned(),
            r#type: r#type.to_owned(),
            version: 2,
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        };
        let sequence = Sequence(sequence);
        let recorded =
            RecordedEvent { event, stream: "bank".into(), sequence, recorded_at: Timestamp::default() };
        let cause = command.map(|id| Cause {
            command: CommandId::new(id).unwrap(),
            fingerprint: Fingerprint::of(&[id.as_bytes()]),
        });
        StoredEvent { recorded, cause, history: None }
    }

    fn past() -> EntityHistory {
        let mut past = EntityHistory::default();
        for event in [
            event("a:0", "withdrawn", 3, Some("a")),
            event("a:1", "deposited", 4, Some("a")),
            event("somebody's", "deposited", 9, None),
            event("b:0", "deposited", 12, Some("b")),
            event("odd", "withdrawn", 15, Some("b")),
        ] {
            past.push(event.recorded, event.cause);
        }
        past
    }

    #[test]
    fn everything_comes_back() {
        let (key, past) = (key(1, "1"), past());
        let snapshot = encode(&key, &past, b"\0state\xff").unwrap();
        assert_eq!(decode(&snapshot, &key, "bank"), Ok((past, b"\0state\xff".to_vec())));
    }

    #[test]
    fn what_is_not_this_snapshot_is_refused_with_the_reason() {
        let snapshot = encode(&key(1, "1"), &past(), b"state").unwrap();
        let refused = |bytes: &[u8], key: SnapshotKey, part: &str| {
            let why = decode(bytes, &key, "bank").unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        refused(&snapshot, key(1, "2"), "it is account.v1.account.1, not account.v1.account.2");
        refused(&snapshot, key(2, "1"), "it is account.v1.account.1, not account.v2.account.1");
        let mut form_2 = snapshot.to_vec();
        form_2[FORM.len() - 2] = b'2';
        refused(&form_2, key(1, "1"), "does not begin with");
        let none = encode(&key(1, "1"), &EntityHistory::default(), b"state").unwrap();
        refused(&none, key(1, "1"), "has no last event");
    }

    #[test]
    fn no_byte_can_be_lost_or_changed() {
        let key = key(1, "1");
        let snapshot = encode(&key, &past(), b"state").unwrap();
        for at in 0..snapshot.len() {
            assert!(decode(&snapshot[..at], &key, "bank").is_err(), "cut off at {at}");
            let mut changed = snapshot.to_vec();
            changed[at] ^= 1;
            assert!(decode(&changed, &key, "bank").is_err(), "changed at {at}");
        }
    }

    #[test]
    fn ten_thousand_commands_fit_and_twice_as_many_do_not() {
        let key = key(1, "1");
        let mut past = EntityHistory::default();
        for n in 0..20_000 {
            let command = format!("{n:0>36}");
            let event = event(&format!("{command}:0"), "deposited", 1_000_000_000 + n, Some(&command));
            past.push(event.recorded, event.cause);
            if past.effects.len() == 10_000 {
                encode(&key, &past, &[0; 32 * 1024]).unwrap();
            }
        }
        let why = encode(&key, &past, b"state").unwrap_err();
        assert!(why.contains("at most 1024000 are kept"), "{why}");
    }

    #[test]
    fn a_past_joins_only_the_stream_that_it_was_taken_from() {
        let past = past();
        let numbered = |id: &str, sequence: u64, before: &str| StoredEvent {
            history: Some(Backlinks::parse(before).unwrap()),
            ..event(id, "deposited", sequence, None)
        };
        let last = numbered("odd", 15, "4;3,4,9,12");
        let next = numbered("c:0", 20, "5;3,4,9,12,15");
        assert_eq!(past.joins(std::slice::from_ref(&last)), Ok(()));
        assert_eq!(past.joins(&[last.clone(), next.clone()]), Ok(()));
        assert_eq!(past.joins(&[last.clone(), event("by somebody", "x", 17, None)]), Ok(()));
        for (events, part) in [
            (vec![], "no event of the entity at sequence 15"),
            (vec![next.clone()], "no event of the entity at sequence 15"),
            (vec![numbered("other", 15, "4;3,4,9,12")], "is \"other\", not \"odd\""),
            (vec![numbered("odd", 15, "3;3,4,9")], "at sequence 15 counts 3 before it, not 4"),
            (vec![last, numbered("d:0", 25, "6;3,4,9,12,15,20")], "counts 6 before it, not 5"),
        ] {
            let why = past.joins(&events).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
