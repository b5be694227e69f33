//! Lending: each book is an entity, and the rules say what may happen to it.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the names are the documentation, as in most plugins")]

use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    LendBook { book: String, reader: String },
    ReturnBook { book: String },
    AskForBook { book: String, reader: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    BookLent { book: String, reader: String },
    BookReturned { book: String, reader: String },
    BookAskedFor { book: String, reader: String },
}

/// Why a command is rejected.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    NoName,
    AlreadyLent,
    NotLent,
}

/// One book: who has it.
#[derive(Debug, Default)]
pub struct Book {
    reader: Option<String>,
}

impl CommandHandler for Book {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        match event {
            Event::BookLent { reader, .. } => self.reader = Some(reader),
            Event::BookReturned { .. } => self.reader = None,
            Event::BookAskedFor { .. } => {}
        }
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        match (command, &self.reader) {
            (Command::LendBook { reader, .. }, _) if !is_name(&reader) => {
                Err(Rejection::new(Rule::NoName, "a reader's name has 1 to 64 letters, digits and -"))
            }
            (Command::LendBook { book, reader }, None) => Ok(vec![Event::BookLent { book, reader }]),
            (Command::LendBook { .. }, Some(reader)) => {
                Err(Rejection::new(Rule::AlreadyLent, "somebody has the book").detail("reader", reader))
            }
            (Command::ReturnBook { book }, Some(reader)) => {
                Ok(vec![Event::BookReturned { book, reader: reader.clone() }])
            }
            (Command::AskForBook { book, reader }, Some(_)) => Ok(vec![Event::BookAskedFor { book, reader }]),
            (Command::ReturnBook { .. } | Command::AskForBook { .. }, None) => {
                Err(Rejection::new(Rule::NotLent, "nobody has the book"))
            }
        }
    }
}

pelton_plugin::export_command_handler!(Book);

/// A reader is a key of a view and an entity of `library-notices`, so not every text can be one.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::TestCommandHandler;

    use super::*;

    fn lent() -> Event {
        Event::BookLent { book: "emma".into(), reader: "ada".into() }
    }

    #[test]
    fn a_book_is_lent_to_one_reader_at_a_time() {
        let lend = || Command::LendBook { book: "emma".into(), reader: "ada".into() };
        Book::given([]).when(lend()).then([lent()]);
        Book::given([lent()]).when(lend()).then_rejected("already-lent");
    }

    #[test]
    fn a_book_that_came_back_is_lent_again() {
        let returned = || Event::BookReturned { book: "emma".into(), reader: "ada".into() };
        Book::given([lent()]).when_sent("return-book", r#"{"book":"emma"}"#).then([returned()]);
        Book::given([lent(), returned()])
            .when_sent("lend-book", r#"{"book":"emma","reader":"ada"}"#)
            .then([lent()]);
        Book::given([]).when_sent("return-book", r#"{"book":"emma"}"#).then_rejected("not-lent");
    }

    #[test]
    fn only_a_book_that_is_lent_is_asked_for() {
        let ask = r#"{"book":"emma","reader":"bob"}"#;
        let asked = Event::BookAskedFor { book: "emma".into(), reader: "bob".into() };
        Book::given([lent()]).when_sent("ask-for-book", ask).then([asked]);
        Book::given([]).when_sent("ask-for-book", ask).then_rejected("not-lent");
    }

    #[test]
    fn what_is_no_name_or_no_json_of_the_command_is_rejected() {
        for name in ["", "ada lovelace", "ada.lovelace"] {
            let lend = Command::LendBook { book: "emma".into(), reader: name.into() };
            Book::given([]).when(lend).then_rejected("no-name");
        }
        Book::given([]).when_sent("lend-book", r#"{"reader":7}"#).then_rejected("invalid-command");
    }
}
