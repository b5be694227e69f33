//! The view of readers: which books each reader has.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the names are the documentation, as in most plugins")]

use pelton_plugin::{EventMeta, Projection, Timestamp};
use serde::{Deserialize, Serialize};

/// What it reads. The host leaves out all other events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    BookLent { book: String, reader: String },
    BookReturned { book: String, reader: String },
}

/// The value under a reader's name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reader {
    pub books: Vec<String>,
    pub since: Timestamp,
}

/// The view.
#[derive(Debug)]
pub struct Readers;

impl Projection for Readers {
    type Event = Event;
    type View = Reader;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        match event {
            Event::BookLent { reader, .. } | Event::BookReturned { reader, .. } => vec![reader.clone()],
        }
    }

    fn apply(_key: &str, view: Option<Reader>, event: &Event, meta: &EventMeta) -> Option<Reader> {
        let Reader { mut books, .. } = view.unwrap_or_default();
        match event {
            Event::BookLent { book, .. } => books.push(book.clone()),
            Event::BookReturned { book, .. } => books.retain(|other| other != book),
        }
        // A reader without books has no value.
        (!books.is_empty()).then_some(Reader { books, since: meta.time })
    }
}

pelton_plugin::export_projection!(Readers);

#[cfg(test)]
mod tests {
    use library_books::Event as Happened;
    use pelton_plugin::testing::{START, TestProjection, event};

    use super::*;

    fn lent(book: &str) -> Happened {
        Happened::BookLent { book: book.into(), reader: "ada".into() }
    }

    fn returned(book: &str) -> Happened {
        Happened::BookReturned { book: book.into(), reader: "ada".into() }
    }

    #[test]
    fn a_reader_has_the_books_that_were_not_returned() {
        Readers::given([lent("emma"), lent("dune"), returned("emma")])
            .and([event(lent("ulysses")).at(START)])
            .then("ada", &Reader { books: vec!["dune".into(), "ulysses".into()], since: START });
    }

    #[test]
    fn a_reader_without_books_has_no_value() {
        Readers::given([lent("emma"), returned("emma")]).then_keys([]);
    }
}
