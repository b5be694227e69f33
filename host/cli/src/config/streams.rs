//! `[streams.X]`: a stream of events.

use pelton_core::id::Name;
use pelton_nats::subjects;

use super::text::key::{Key, Required, Table, Texts};
use super::text::problem::{At, Problem, Problems};
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

pub(super) static TABLE: Table = Table {
    name: "streams",
    header: "[streams.hotel]",
    doc: "A stream of events. Its order is the order that projections and sagas see.",
    keys: &[&SUBJECTS],
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
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The subjects that it captures. They overlap with those of no other stream.
    pub subjects: Vec<String>,
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
        Self { name, subjects, incomplete }
    }

    pub(super) fn used(&self) -> StreamConfig {
        StreamConfig { subjects: self.subjects.iter().map(|subject| subject.value.clone()).collect() }
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
