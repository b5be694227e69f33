//! Waiting: whoever has a book is reminded when somebody else asks for it, and every day from then on until it is back.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the names are the documentation, as in most plugins")]

use std::time::Duration;

use pelton_plugin::{Correlation, EventMeta, Failure, Input, InputContext, Reaction, Saga};
use serde::{Deserialize, Serialize};

/// A little more than the day within which a reader is not reminded twice.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60 + 60);

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

/// What it waits for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timer {
    RemindAgain { book: String },
}

/// One instance for each book that is lent.
#[derive(Debug)]
pub struct Waiting;

impl Saga for Waiting {
    type Event = Event;
    type Command = Command;
    type Timer = Timer;
    /// Who has the book.
    type State = String;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        match event {
            Event::BookLent { book, .. } => vec![Correlation::start(book)],
            Event::BookAskedFor { book } | Event::BookReturned { book } => vec![Correlation::advance(book)],
        }
    }

    fn react(
        has: Option<String>,
        input: Input<Event, Timer>,
        context: &InputContext,
    ) -> Result<Reaction<Self>, Failure> {
        Ok(match (input, has) {
            (Input::Event(Event::BookLent { reader, .. }, _), _) => Reaction::keep(reader),
            (
                Input::Event(Event::BookAskedFor { book }, _) | Input::Timer(Timer::RemindAgain { book }, _),
                Some(has),
            ) => {
                let tomorrow = context.time + AGAIN;
                Reaction::keep(has.clone())
                    .send(Command::RemindReader { reader: has, book: book.clone() })
                    .set_timer("again", tomorrow, &Timer::RemindAgain { book })
            }
            // The book is back; its timer is cancelled with the instance.
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
        lent().when(asked()).when(returned()).then_ended("emma").advance(AGAIN * 2).then_sends([]);
    }

    #[test]
    fn a_reader_who_keeps_the_book_is_reminded_every_day() {
        lent()
            .advance(AGAIN * 2)
            .then_sends([])
            .when(asked())
            .then_sends([remind()])
            .advance(AGAIN - Duration::from_secs(1))
            .then_sends([])
            .advance(AGAIN * 2)
            .then_sends([remind(), remind()]);
    }

    #[test]
    fn its_command_is_one_that_the_handler_takes() {
        Notices::given([])
            .when_received(&remind())
            .then([Notice::ReaderReminded { reader: "ada".into(), book: "emma".into() }]);
    }
}
