//! `[streams.X]`: a stream of events.

use pelton_core::id::Name;
use pelton_nats::subjects;
use pelton_nats::topology::{Storage, StreamLimits, WhenFull};

use super::text::key::{
    Count, DAY, Key, OneOf, Optional, Or, Required, Size, Table, Texts, Time, Words, seconds,
};
use super::text::problem::{At, Problem, Problems, Span};
use super::text::reader::Reader;
use super::text::value;

const EXAMPLE: &str = "[\"booking.>\"]";

static SUBJECTS: Key<Texts, Required> = Key {
    name: "subjects",
    form: Texts { unit: "subject, or an array of subjects", hint: EXAMPLE },
    default: Required(EXAMPLE),
    example: "[\"booking.>\", \"cleaning.>\"]",
    doc: "What the stream holds. `*` stands for one token, `>` for one or more at the end. \
          Subjects overlap neither with each other nor with those of another stream.",
};

static MAX_BYTES: Key<Size, Optional> = Key {
    name: "max-bytes",
    form: Size(1 << 16..=1 << 50),
    default: Optional("no limit"),
    example: "\"100GiB\"",
    doc: "The most bytes of the stream.",
};
static MAX_MESSAGES: Key<Count<u64>, Optional> = Key {
    name: "max-messages",
    form: Count::new(1..=1_000_000_000_000),
    default: Optional("no limit"),
    example: "1_000_000_000",
    doc: "The most messages of the stream.",
};
static MAX_AGE: Key<Time, Optional> = Key {
    name: "max-age",
    form: seconds(60, 36_500 * DAY),
    default: Optional("for good"),
    example: "\"90d\"",
    doc: "How long an event is kept. Not for a stream in which a handler stores: entities are folded from all their events.",
};
static WHEN_FULL: Key<Words<WhenFull>, Or<WhenFull>> = Key {
    name: "when-full",
    form: Words(&[("refuse", WhenFull::Refuse), ("delete-oldest", WhenFull::DeleteOldest)]),
    default: Or(|| WhenFull::Refuse),
    example: "\"delete-oldest\"",
    doc: "What a full stream does. `refuse`: it takes nothing new, and commands wait until it has room. `delete-oldest`: it deletes its \
          oldest events; not for a stream in which a handler stores.",
};
static STORAGE: Key<Words<Storage>, Optional> = Key {
    name: "storage",
    form: Words(&[("file", Storage::File), ("memory", Storage::Memory)]),
    default: Optional("`storage` in `[nats]`"),
    example: "\"file\"",
    doc: "Where the server keeps the stream.",
};
static REPLICAS: Key<OneOf, Optional> = Key {
    name: "replicas",
    form: OneOf(&[1, 3, 5]),
    default: Optional("`replicas` in `[nats]`, the least that it may be"),
    example: "5",
    doc: "Replicas of the stream.",
};

pub(super) static TABLE: Table = Table {
    name: "streams",
    header: "[streams.hotel]",
    doc: "A stream of events. Its order is the order that projections and sagas see.",
    keys: &[&SUBJECTS, &MAX_BYTES, &MAX_MESSAGES, &MAX_AGE, &WHEN_FULL, &STORAGE, &REPLICAS],
    tables: &[],
    free: None,
};

/// The table as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: At<Name>,
    pub(super) subjects: Vec<At<String>>,
    /// Some subjects could not be read, so missing subjects are not reported.
    pub(super) incomplete: bool,
    limits: StreamLimits,
    /// Where it is said that events are deleted.
    deletes: Option<Span>,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The subjects that it captures. They overlap with those of no other stream.
    pub subjects: Vec<String>,
    /// How much it may hold.
    pub limits: StreamLimits,
}

impl Stream {
    pub(super) fn read(name: At<Name>, table: &Reader<'_>) -> Self {
        let typed = table.at(&SUBJECTS);
        let mut incomplete = typed.as_ref().is_none_or(|subjects| subjects.value.is_empty());
        let mut subjects = Vec::new();
        for subject in typed.into_iter().flat_map(|typed| typed.value) {
            match value::subject(&subject.value) {
                Ok(()) => subjects.push(subject),
                Err((at, wrong)) => {
                    let place = table.inside(subject.span, &subject.value, at);
                    table.add(Problem::new(place, format!("the subject {:?} {wrong}", subject.value)));
                    incomplete = true;
                }
            }
        }
        let (age, when_full) = (table.at(&MAX_AGE), table.at(&WHEN_FULL));
        let deletes = age
            .as_ref()
            .map(|age| age.span)
            .or_else(|| when_full.as_ref().filter(|of| of.value == WhenFull::DeleteOldest).map(|of| of.span));
        let limits = StreamLimits {
            max_bytes: table.at(&MAX_BYTES).and_then(|bytes| u64::try_from(bytes.value).ok()),
            max_messages: table.at(&MAX_MESSAGES).map(|messages| messages.value),
            max_age: age.map(|age| age.value),
            when_full: when_full.map_or_else(WhenFull::default, |of| of.value),
            storage: table.at(&STORAGE).map(|storage| storage.value),
            replicas: table.at(&REPLICAS).map(|replicas| replicas.value),
        };
        Self { name, subjects, incomplete, limits, deletes }
    }

    pub(super) fn used(&self) -> StreamConfig {
        let subjects = self.subjects.iter().map(|subject| subject.value.clone()).collect();
        StreamConfig { subjects, limits: self.limits }
    }

    /// Checks that no events of a handler are deleted.
    pub(super) fn keeps_events_of(&self, handler: &At<Name>, problems: &Problems) {
        if let Some(span) = self.deletes {
            let title = format!(
                "the stream `{}` deletes events, and the handler `{}` stores there",
                self.name.value, handler.value
            );
            let problem = Problem::new(span, title).also(handler.span, "the handler");
            problems.add(problem.help("entities are folded from all their events: leave it out"));
        }
    }
}

/// Checks that every subject belongs to one stream, and none is reserved for Pelton.
pub(super) fn check(streams: &[Stream], problems: &Problems) {
    let subjects: Vec<_> =
        streams.iter().flat_map(|s| s.subjects.iter().map(move |subject| (s, subject))).collect();
    for (index, (stream, subject)) in subjects.iter().enumerate() {
        if let Some(own) = subjects::RESERVED.iter().find(|own| value::overlap(own, &subject.value)) {
            let owner = if own.starts_with(['$', '_']) { "the server" } else { "Pelton" };
            let title = format!("the subject {:?} overlaps with {owner}'s own `{own}`", subject.value);
            problems.add(Problem::new(subject.span, title));
        } else if subject.value.starts_with('$') {
            let title = format!("the subject {:?} begins with `$`, which is the server's own", subject.value);
            problems.add(Problem::new(subject.span, title));
        }
        for (other, earlier) in &subjects[..index] {
            if value::overlap(&earlier.value, &subject.value) {
                let title = if stream.name.span == other.name.span {
                    format!("the subjects {:?} and {:?} overlap", earlier.value, subject.value)
                } else {
                    format!(
                        "the subject {:?} of the stream `{}` overlaps with {:?} of the stream `{}`",
                        subject.value, stream.name.value, earlier.value, other.name.value
                    )
                };
                problems.add(Problem::new(subject.span, title).also(earlier.span, "the other subject"));
            }
        }
    }
}
