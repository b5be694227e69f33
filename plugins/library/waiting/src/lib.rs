//! Waiting: whoever has a book is reminded when somebody else asks for it.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the names are the documentation, as in most plugins")]

use pelton_plugin::{Correlation, EventMeta, Failure, Input, InputContext, NoTimers, Reaction, Saga};
use serde::{Deserialize, Serialize};

/// What it reads, of `library-books`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    BookLent { book: String, reader: String },
    BookAskedFor { book: String },
    BookReturned { book: String },
}

/// What it sends, to `library-notices`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    RemindReader { reader: String, book: String },
}

/// One instance for each book that is lent.
#[derive(Debug)]
pub struct Waiting;

impl Saga for Waiting {
    type Event = Event;
    type Command = Command;
    type Timer = NoTimers;
    /// Who has the book.
    type State = String;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        match event {
            Event::BookLent { book, .. } => vec![Correlation::start(book)],
            Event::BookAskedFor { book } | Event::BookReturned { book } => vec![Correlation::advance(book)],
        }
    }

    fn react(has: Option<String>, input: Input<Event>, _: &InputContext) -> Result<Reaction<Self>, Failure> {
        Ok(match (input, has) {
            (Input::Event(Event::BookLent { reader, .. }, _), _) => Reaction::keep(reader),
            (Input::Event(Event::BookAskedFor { book }, _), Some(has)) => {
                Reaction::keep(has.clone()).send(Command::RemindReader { reader: has, book })
            }
            _ => Reaction::end(),
        })
    }
}

pelton_plugin::export_saga!(Waiting);

#[cfg(test)]
mod tests {
    use library_books::Event as Happened;
    use library_notices::{Event as Notice, Notices};
    use pelton_plugin::testing::{SagaAfter, TestCommandHandler, TestSaga};

    use super::*;

    fn lent() -> SagaAfter<Waiting> {
        Waiting::given([Happened::BookLent { book: "emma".into(), reader: "ada".into() }])
    }

    fn asked() -> [Happened; 1] {
        [Happened::BookAskedFor { book: "emma".into(), reader: "bob".into() }]
    }

    fn remind() -> Command {
        Command::RemindReader { reader: "ada".into(), book: "emma".into() }
    }

    #[test]
    fn whoever_has_the_book_is_reminded_each_time_that_somebody_asks() {
        lent().then_sends([]).when(asked()).then_sends([remind()]).when(asked()).then_sends([remind()]);
    }

    #[test]
    fn a_book_that_came_back_reminds_nobody() {
        let returned = || [Happened::BookReturned { book: "emma".into(), reader: "ada".into() }];
        lent().when(returned()).then_ended("emma").when(asked()).then_sends([]);
    }

    #[test]
    fn its_command_is_one_that_the_handler_takes() {
        Notices::given([])
            .when_received(&remind())
            .then([Notice::ReaderReminded { reader: "ada".into(), book: "emma".into() }]);
    }
}
