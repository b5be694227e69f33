//! Notices: each reader is an entity, and is reminded of a book at most once a day.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the names are the documentation, as in most plugins")]

use std::collections::BTreeMap;
use std::time::Duration;

use pelton_plugin::{CommandHandler, Context, EventContext, Rejection, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    RemindReader { reader: String, book: String },
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    ReaderReminded { reader: String, book: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    AlreadyReminded,
}

/// One reader: when the last reminder of each book was.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Notices {
    last: BTreeMap<String, Timestamp>,
}

impl CommandHandler for Notices {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, _: Event) {}

    fn evolve_with(&mut self, Event::ReaderReminded { book, .. }: Event, context: &EventContext) {
        self.last.insert(book, context.time);
    }

    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        let Command::RemindReader { reader, book } = command;
        match self.last.get(&book) {
            // A plugin has no clock: the time is the one that comes with the command.
            Some(last) if context.time < *last + DAY => {
                Err(Rejection::new(Rule::AlreadyReminded, "at most once a day")
                    .detail("last", last.to_string()))
            }
            _ => Ok(vec![Event::ReaderReminded { reader, book }]),
        }
    }

    pelton_plugin::snapshot_as_json!();
}

pelton_plugin::export_command_handler!(Notices);
pelton_plugin::export_schemas!(command_handler: Notices, snapshots: Notices);

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::{Given, START, TestCommandHandler, event};

    use super::*;

    const EMMA: &str = r#"{"reader":"ada","book":"emma"}"#;

    fn reminded(book: &str) -> Event {
        Event::ReaderReminded { reader: "ada".into(), book: book.into() }
    }

    fn reminded_at_start() -> Given<Notices> {
        Notices::given([]).and([event(reminded("emma")).at(START)])
    }

    #[test]
    fn a_reader_is_reminded_of_a_book_once_a_day() {
        let just_before = Timestamp::from_nanos((START + DAY).as_nanos() - 1);
        reminded_at_start()
            .at(just_before)
            .when_sent("remind-reader", EMMA)
            .then_rejected("already-reminded");
        reminded_at_start().at(START + DAY).when_sent("remind-reader", EMMA).then([reminded("emma")]);
    }

    #[test]
    fn another_book_is_another_reminder() {
        let dune = r#"{"reader":"ada","book":"dune"}"#;
        reminded_at_start().at(START).when_sent("remind-reader", dune).then([reminded("dune")]);
    }
}
