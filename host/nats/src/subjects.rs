//! Names of streams, and every subject and filter of Pelton, each spelled here and nowhere else.
//!
//! Replicas check an expectation by the very string of its filter: two spellings of one filter would not see each
//! other.

use pelton_core::command::snapshot::SnapshotKey;
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, first_subject};
use pelton_core::id::{CommandId, InstanceId, Name, Sequence, check_token};
use pelton_core::intake::SAGA_SUFFIX;
use pelton_core::message::{EventType, Fingerprint, Incoming};
use pelton_core::partition::Partition;
use pelton_core::projection::view::ViewKey;
use pelton_core::subject::{Entity, EntityTemplate};

/// The stream that logs commands.
pub const COMMANDS: &str = "COMMANDS";
/// The stream that says what operators and hosts did about dead letters.
pub const AUDIT: &str = "AUDIT";
/// The stream that holds dead letters.
pub const DEAD_LETTERS: &str = "DEAD_LETTERS";
/// The bucket that holds the snapshots of the entities of all handlers.
pub const SNAPSHOTS: &str = "snapshots";
/// The plugin store: the object store of components, and the bucket of records.
pub const PLUGINS: &str = "plugins";

/// Subjects that Pelton and the server publish to. A stream of events must not match any of them.
pub const RESERVED: [&str; 8] =
    ["command.>", "audit.>", "dead-letter.>", "saga.>", "$JS.>", "$KV.>", "$SYS.>", "_INBOX.>"];

/// The token for a missing part.
const NOTHING: &str = "-";

// ---- entities ------------------------------------------------------------------------------------------------------

/// All events of one entity, and nothing else: the one filter of every append's expectation.
#[must_use]
pub fn entity_filter(entity: &Entity) -> String {
    format!("{}.>", entity.prefix())
}

/// The token before the last of a mark's subject. It begins with `_`, as no type of events does.
const MARK: &str = "_mark";

/// Where the mark of a command lies, among the events of its entity.
#[must_use]
pub fn mark(entity: &Entity, command: &CommandId) -> String {
    [entity.prefix(), ".", MARK, ".", command.as_str()].concat()
}

/// All marks of an entity.
pub(crate) fn marks(entity: &Entity) -> String {
    [entity.prefix(), ".", MARK, ".*"].concat()
}

/// Whether a mark lies at this subject, and no event.
#[must_use]
pub fn is_mark(subject: &str) -> bool {
    subject.rsplit('.').nth(1) == Some(MARK)
}

/// Whether a message at this subject is one of the entity's.
pub(crate) fn is_of_entity(entity: &Entity, subject: &str) -> bool {
    subject.strip_prefix(entity.prefix()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
}

/// The events of all entities of a template.
#[must_use]
pub fn template_filter(template: &EntityTemplate) -> String {
    format!("{}.>", template.literals())
}

/// The same with as many tokens as an event's subject has: literals, a token for each name, event type and version.
#[must_use]
pub fn template_pattern(template: &EntityTemplate) -> String {
    format!("{}{}", template.literals(), ".*".repeat(template.names().count() + 2))
}

// ---- commands ------------------------------------------------------------------------------------------------------

/// Where a command is published. A saga's commands lie at an origin of their own, where no client may publish.
#[must_use]
pub fn command(r#type: &str, partition: Partition, id: &CommandId) -> String {
    command_at(&partition.of_name(r#type), id)
}

fn command_at(place: &str, id: &CommandId) -> String {
    let origin = if id.is_of_saga() { SAGA_SUFFIX } else { "" };
    format!("command.{place}.{id}{origin}")
}

/// The commands of one type in one partition, and their retries.
pub(crate) fn commands_of_type(r#type: &str, partition: Partition) -> String {
    format!("command.{}.>", partition.of_name(r#type))
}

/// The type and the partition in a filter on the commands of one type, as one token; another filter as it is.
pub(crate) fn place_of_commands(filter: &str) -> &str {
    filter.strip_prefix("command.").and_then(|rest| rest.strip_suffix(".>")).unwrap_or(filter)
}

/// The type in a filter on the commands of one type; another filter as it is.
pub(crate) fn type_of_commands(filter: &str) -> &str {
    Partition::split(place_of_commands(filter)).0
}

/// Whether this is the filter on the commands of one type.
pub(crate) fn is_commands_of_type(filter: &str) -> bool {
    check_token(place_of_commands(filter)).is_ok() && filter.ends_with(".>")
}

/// The command of this id, whatever its type and partition.
pub(crate) fn command_of_id(id: &CommandId) -> String {
    command_at("*", id)
}

/// Whether a message at this subject is the command of this type and id, in whatever partition.
pub(crate) fn is_command(subject: &str, r#type: &str, id: &CommandId) -> bool {
    let place = subject.strip_prefix("command.").and_then(|rest| rest.split('.').next());
    place.is_some_and(|place| Partition::split(place).0 == r#type && subject == command_at(place, id))
}

/// The type of the command at this subject.
pub(crate) fn type_of_command(subject: &str) -> Option<&str> {
    let (place, _) = subject.strip_prefix("command.")?.split_once('.')?;
    Some(Partition::split(place).0)
}

/// The subject of the same command in this partition.
pub(crate) fn in_partition(subject: &str, partition: Partition) -> Option<String> {
    let (place, rest) = subject.strip_prefix("command.")?.split_once('.')?;
    Some(format!("command.{}.{rest}", partition.of_name(Partition::split(place).0)))
}

/// The consumer of the commands of a handler in one partition.
#[must_use]
pub fn handler_consumer(handler: &Name, partition: Partition) -> String {
    partition.of_name(handler.as_str())
}

/// The id of the command that a message of the command stream holds, as its subject says.
pub(crate) fn id_of_command(message: &Incoming) -> Option<&str> {
    let subject = first_subject(&message.subject);
    let subject = subject.strip_suffix(SAGA_SUFFIX).unwrap_or(subject);
    let (_type, id) = subject.strip_prefix("command.")?.split_once('.')?;
    (message.stream.as_str() == COMMANDS && check_token(id).is_ok()).then_some(id)
}

// ---- dead letters --------------------------------------------------------------------------------------------------

/// All dead letters.
pub(crate) const ALL_DEAD_LETTERS: &str = "dead-letter.>";
/// The token in place of a dead letter's kind that marks the release of a queue.
const RELEASED: &str = "released";
/// The index of the kind among the tokens of a dead letter's subject.
const KIND_AT: usize = 3;

/// The subject of a dead letter.
#[must_use]
pub fn dead_letter(dead_letter: &DeadLetter) -> String {
    let DeadLetter { consumer, key, kind, message, .. } = dead_letter;
    let (key, command) = (key_token(key.as_deref()), id_of_command(message).unwrap_or(NOTHING));
    let kind = kind.as_str();
    format!("dead-letter.{consumer}.{key}.{kind}.{}.{}.{command}", message.stream, message.sequence)
}

/// A key as one token of a subject. It is hashed, because keys are longer than tokens and have any characters.
fn key_token(key: Option<&str>) -> String {
    key.map_or_else(|| NOTHING.to_owned(), |key| Fingerprint::of(&[key.as_bytes()]).0[..16].to_owned())
}

/// The filter on dead letters with these properties; `None` matches any.
pub(crate) fn dead_letters(
    consumer: Option<&str>,
    key: Option<&str>,
    kind: Option<DeadLetterKind>,
    stream: Option<&str>,
    command: Option<&str>,
) -> String {
    let any = |token: Option<&str>| token.unwrap_or("*").to_owned();
    let (consumer, stream, command) = (any(consumer), any(stream), any(command));
    let key = key.map_or_else(|| any(None), |key| key_token(Some(key)));
    let kind = kind.map_or("*", DeadLetterKind::as_str);
    format!("dead-letter.{consumer}.{key}.{kind}.{stream}.*.{command}")
}

/// The consumer and the kind of the dead letter at this subject. `None` if none lies there.
pub(crate) fn consumer_and_kind(subject: &str) -> Option<(&str, DeadLetterKind)> {
    let mut tokens = subject.strip_prefix("dead-letter.")?.split('.');
    let (consumer, _key, kind) = (tokens.next()?, tokens.next()?, tokens.next()?);
    let kinds = [DeadLetterKind::Failed, DeadLetterKind::Parked];
    Some((consumer, kinds.into_iter().find(|known| known.as_str() == kind)?))
}

/// The dead letters of one consumer and key, and the releases of their queue, without the parts of dead letters.
/// Without a key: of all keys of the consumer.
pub(crate) fn dead_letter_queue(consumer: &str, key: Option<&str>) -> String {
    dead_letters(Some(consumer), key, None, None, None)
}

/// The dead letters of one queue and kind that hold this message, or a command of its id.
pub(crate) fn dead_letter_of(
    consumer: &str,
    key: Option<&str>,
    kind: DeadLetterKind,
    message: &Incoming,
) -> String {
    let key = key.map_or_else(|| "*".to_owned(), |key| key_token(Some(key)));
    let kind = kind.as_str();
    match id_of_command(message) {
        Some(command) => format!("dead-letter.{consumer}.{key}.{kind}.*.*.{command}"),
        None => {
            format!("dead-letter.{consumer}.{key}.{kind}.{}.{}.{NOTHING}", message.stream, message.sequence)
        }
    }
}

/// The subject of the release that makes a queue count as empty, given its last dead letter's subject.
pub(crate) fn release(dead_letter: &str) -> String {
    let mut tokens: Vec<&str> = dead_letter.split('.').collect();
    if let Some(kind) = tokens.get_mut(KIND_AT) {
        *kind = RELEASED;
    }
    tokens.join(".")
}

/// Whether a message at this subject is a release.
pub(crate) fn is_release(subject: &str) -> bool {
    subject.split('.').nth(KIND_AT) == Some(RELEASED)
}

/// The subject of the n-th part of a large dead letter.
pub(crate) fn dead_letter_part(dead_letter: &str, n: u64) -> String {
    format!("{dead_letter}.part.{n}")
}

/// All parts of a large dead letter.
pub(crate) fn dead_letter_parts(dead_letter: &str) -> String {
    format!("{dead_letter}.part.*")
}

/// The subject of an operator's request to a projection or saga to retry the dead letters of a key. Without a key: all
/// such requests.
pub(crate) fn retry_request(consumer: &str, key: Option<&str>) -> String {
    let key = key.map_or_else(|| "*".to_owned(), |key| key_token(Some(key)));
    format!("dead-letter.{consumer}.{key}.retry")
}

/// The subject of an entry of the audit stream about a dead letter. `what` is one token, or two.
pub(crate) fn dead_letter_entry(dead_letter: Sequence, what: &str) -> String {
    format!("audit.dead-letter.{dead_letter}.{what}")
}

/// All entries of the audit stream about a dead letter.
pub(crate) fn dead_letter_entries(dead_letter: Sequence) -> String {
    format!("audit.dead-letter.{dead_letter}.>")
}

// ---- sagas ---------------------------------------------------------------------------------------------------------

/// The stream of a saga, by its id.
#[must_use]
pub fn saga_stream(saga: &Name) -> String {
    format!("SAGA-{saga}")
}

/// Everything of a saga.
pub(crate) fn all_of_saga(saga: &Name) -> String {
    format!("saga.{saga}.>")
}

/// An instance of a saga.
#[must_use]
pub fn saga_instance(saga: &Name, instance: &InstanceId) -> String {
    format!("{}{instance}", saga_instances(saga))
}

/// What the subject of every instance of a saga begins with.
pub(crate) fn saga_instances(saga: &Name) -> String {
    format!("saga.{saga}.instance.")
}

/// An armed timer of an instance: a scheduled message.
pub(crate) fn saga_timer(saga: &Name, instance: &InstanceId, timer: &str) -> String {
    format!("saga.{saga}.timer.{instance}.{timer}")
}

/// A message that only cancels a timer.
pub(crate) fn saga_cancel(saga: &Name, instance: &InstanceId, timer: &str) -> String {
    format!("saga.{saga}.cancel.{instance}.{timer}")
}

/// The inputs of a saga's own: timers that have gone off, and outcomes.
pub(crate) fn saga_inputs(saga: &Name) -> String {
    format!("saga.{saga}.input.>")
}

/// Where a timer lies that has gone off.
pub(crate) fn saga_due(saga: &Name, instance: &InstanceId, timer: &str) -> String {
    format!("saga.{saga}.input.timer.{instance}.{timer}")
}

/// How a saga's command ended: once for good, and perhaps once before that.
pub(crate) fn saga_outcome(saga: &Name, command: &CommandId, is_final: bool) -> String {
    let kind = if is_final { "final" } else { "set-aside" };
    format!("saga.{saga}.input.outcome.{command}.{kind}")
}

/// How far a saga has read, and which host runs it.
pub(crate) fn saga_position(saga: &Name) -> String {
    format!("saga.{saga}.position")
}

/// The most filters of one consumer of a saga's events.
const MAX_EVENT_FILTERS: usize = 100;

/// The filters that take the events of these types and leave out those of others. None where nobody can tell at which token
/// of a subject its type stands, because the stream takes events of others than these entities, and where every type is
/// wanted.
pub(crate) fn event_filters(
    stream: &[String],
    entities: &[EntityTemplate],
    types: &[EventType],
) -> Vec<String> {
    let is_of_entities = |subject: &String| {
        entities.iter().any(|template| {
            *subject == template_filter(template) || subject.starts_with(&format!("{}.", template.literals()))
        })
    };
    if entities.len() * types.len() > MAX_EVENT_FILTERS || !stream.iter().all(is_of_entities) {
        return Vec::new();
    }
    let filter = |template: &EntityTemplate, EventType { r#type, version }: &EventType| {
        format!("{}{}.{type}.v{version}", template.literals(), ".*".repeat(template.names().count()))
    };
    entities.iter().flat_map(|template| types.iter().map(move |kind| filter(template, kind))).collect()
}

/// Whether a filter takes this subject.
pub(crate) fn takes(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// An entry of the audit stream about an instance. `unique` tells it from all others.
pub(crate) fn saga_entry(saga: &Name, instance: &InstanceId, unique: &str) -> String {
    format!("audit.saga.{saga}.{instance}.{unique}")
}

// ---- plugins -------------------------------------------------------------------------------------------------------

/// The stream behind the object store of components.
#[must_use]
pub fn component_stream() -> String {
    format!("OBJ_{PLUGINS}")
}

/// All pieces of components, and what describes them. Source: NATS ADR-20.
pub(crate) fn component_filters() -> [String; 2] {
    [format!("$O.{PLUGINS}.C.>"), format!("$O.{PLUGINS}.M.>")]
}

/// What the plugin of this name runs.
pub(crate) fn activation(plugin: &Name) -> String {
    format!("$KV.{PLUGINS}.active.{plugin}")
}

/// What every plugin runs.
pub(crate) fn activations() -> String {
    format!("$KV.{PLUGINS}.active.*")
}

/// A component that was pushed for a plugin. `hex`: the digits of its digest.
pub(crate) fn component_record(plugin: &Name, hex: &str) -> String {
    format!("$KV.{PLUGINS}.component.{plugin}.{hex}")
}

/// The components that were pushed for a plugin, or for all.
pub(crate) fn component_records(plugin: Option<&Name>) -> String {
    let plugin = plugin.map_or("*", Name::as_str);
    format!("$KV.{PLUGINS}.component.{plugin}.*")
}

/// An entry of the audit stream about a plugin. `unique` tells it from all others.
pub(crate) fn plugin_entry(plugin: &Name, unique: &str) -> String {
    format!("audit.plugin.{plugin}.{unique}")
}

/// All entries of the audit stream about a plugin.
pub(crate) fn plugin_entries(plugin: &Name) -> String {
    format!("audit.plugin.{plugin}.*")
}

// ---- buckets -------------------------------------------------------------------------------------------------------

/// The bucket of a view. A new version of the view has a new bucket beside the old one.
#[must_use]
pub fn view_bucket(view: &Name, version: u32) -> String {
    format!("{view}-v{version}")
}

/// The version of this view that is in the bucket behind a stream, if it is such a bucket.
pub(crate) fn version_of_view(stream: &str, view: &Name) -> Option<u32> {
    let version: u32 =
        stream.strip_prefix("KV_")?.strip_prefix(view.as_str())?.strip_prefix("-v")?.parse().ok()?;
    (stream == bucket_stream(&view_bucket(view, version))).then_some(version)
}

/// The stream behind a bucket.
#[must_use]
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// All messages of a bucket.
pub(crate) fn bucket_filter(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// The subject of a view's checkpoint in its bucket. No row can have this subject, whatever keys a plugin chooses.
pub(crate) fn checkpoint(bucket: &str) -> String {
    format!("$KV.{bucket}.checkpoint")
}

/// The prefix of the subject of every row of a view.
pub(crate) fn rows(bucket: &str) -> String {
    format!("$KV.{bucket}.r.")
}

/// The subject of the value under a key of a view.
pub(crate) fn row(bucket: &str, key: &ViewKey) -> String {
    rows(bucket) + &escape(key.as_str())
}

/// The subject of a snapshot. `None` if its key is longer than a bucket allows, so that its entity has no snapshot.
pub(crate) fn snapshot(key: &SnapshotKey) -> Option<String> {
    let key = ViewKey::new(key.as_str()).ok()?;
    Some(format!("$KV.{SNAPSHOTS}.{}", escape(key.as_str())))
}

/// A key in a form that a bucket can hold.
///
/// Letters, digits, `-`, `_` and `/` stand for themselves, and so does a single `.` inside the key. Every other byte is
/// written as `=` and two hexadecimal digits. Keys of a bucket match `[-/_=.a-zA-Z0-9]+` and neither begin nor end with
/// a dot (NATS ADR-8).
pub(crate) fn escape(key: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(key.len());
    for (at, &byte) in key.as_bytes().iter().enumerate() {
        let lone_inner_dot = byte == b'.' && at > 0 && at + 1 < key.len() && key.as_bytes()[at - 1] != b'.';
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/') || lone_inner_dot {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "={byte:02X}");
        }
    }
    escaped
}

/// The original of an escaped key. `None` if this is not one.
pub(crate) fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'=' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use pelton_core::partition::Partitions;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_comes_back_and_fits_a_bucket(key in ".{1,60}") {
            let escaped = escape(&key);
            prop_assert!(escaped.bytes().all(|b| b.is_ascii_alphanumeric() || b"-/_=.".contains(&b)));
            prop_assert!(!escaped.starts_with('.') && !escaped.ends_with('.') && !escaped.contains(".."));
            prop_assert_eq!(unescape(&escaped), Some(key));
        }
    }

    #[test]
    fn plain_keys_stay_readable() {
        assert_eq!(escape("1.2022-12-12"), "1.2022-12-12");
        assert_eq!(escape("a b"), "a=20b");
        assert_eq!(escape(".."), "=2E=2E");
    }

    #[test]
    fn a_mark_is_told_from_an_event_and_from_a_command() {
        for (subject, expected) in [
            ("booking.1.2022-12-12._mark.c-1", true),
            ("booking.1.2022-12-12.room-booked.v1", false),
            ("command.book-room._mark", false),
            ("_mark", false),
        ] {
            assert_eq!(is_mark(subject), expected, "{subject}");
        }
    }

    #[test]
    fn a_filter_takes_what_the_server_would() {
        for (filter, subject, expected) in [
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.c.d", false),
            ("a.*", "b.c", false),
        ] {
            assert_eq!(takes(filter, subject), expected, "{filter} {subject}");
        }
    }

    #[test]
    fn a_commands_origin_is_in_its_subject() {
        let client = CommandId::new("c-1").unwrap();
        assert_eq!(command("book-room", Partition::WHOLE, &client), "command.book-room.c-1");
        let saga = CommandId::new("saga:cleaning:1:hotel:7:0").unwrap();
        assert_eq!(
            command("book-room", Partition::WHOLE, &saga),
            "command.book-room.saga:cleaning:1:hotel:7:0.saga"
        );
    }

    #[test]
    fn a_command_is_the_same_in_every_partition() {
        let (id, other) = (CommandId::new("c-1").unwrap(), CommandId::new("c-2").unwrap());
        for partition in Partitions::new(2).unwrap().all().chain([Partition::WHOLE]) {
            let subject = command("book-room", partition, &id);
            assert!(takes(&commands_of_type("book-room", partition), &subject), "{subject}");
            assert!(takes(&command_of_id(&id), &subject), "{subject}");
            assert!(is_command(&subject, "book-room", &id), "{subject}");
            assert_eq!(type_of_command(&subject), Some("book-room"));
            assert_eq!(in_partition(&subject, Partition::WHOLE).as_deref(), Some("command.book-room.c-1"));
            assert!(!is_command(&subject, "book", &id) && !is_command(&subject, "book-room", &other));
            assert_eq!(type_of_commands(&commands_of_type("book-room", partition)), "book-room");
        }
    }

    #[test]
    fn events_are_filtered_where_their_types_stand_in_one_place() {
        let entities =
            ["booking.{room}.{day}", "cleaning.{id}"].map(|text| EntityTemplate::parse(text).unwrap());
        let types = [EventType { r#type: "room-booked".to_owned(), version: 2 }];
        let of = |stream: &[&str], types: &[EventType]| {
            let stream: Vec<_> = stream.iter().map(|subject| (*subject).to_owned()).collect();
            event_filters(&stream, &entities, types)
        };
        let both = ["booking.*.*.room-booked.v2", "cleaning.*.room-booked.v2"];
        assert_eq!(of(&["booking.>", "cleaning.>"], &types), both);
        assert_eq!(of(&["booking.>", "others.>"], &types), [""; 0]);
        assert_eq!(of(&["booking.>"], &[]), [""; 0]);
    }

    #[test]
    fn a_template_has_a_filter_and_a_pattern() {
        let template = EntityTemplate::parse("booking.{room}.{day}").unwrap();
        assert_eq!(template_filter(&template), "booking.>");
        assert_eq!(template_pattern(&template), "booking.*.*.*.*");
    }
}
