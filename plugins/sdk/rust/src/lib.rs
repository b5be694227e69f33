//! Pelton plugins in plain Rust.
//!
//! A plugin is a few serde types and a few functions. This crate does the rest: the WebAssembly exports, the JSON, the
//! plugin's description, and a test harness that needs no WebAssembly at all.
//!
//! # A command handler
//!
//! A library lends books. Each book is an entity; the rules say what may happen to it. This is the whole plugin:
//!
//! ```
//! use pelton_plugin::{CommandHandler, Context, Rejection};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     LendBook { reader: String },
//!     ReturnBook {},
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { reader: String },
//!     BookReturned {},
//! }
//!
//! /// One book: who has it.
//! #[derive(Default)]
//! pub struct Book {
//!     reader: Option<String>,
//! }
//!
//! impl CommandHandler for Book {
//!     type Command = Command;
//!     type Event = Event;
//!
//!     fn evolve(&mut self, event: Event) {
//!         self.reader = match event {
//!             Event::BookLent { reader } => Some(reader),
//!             Event::BookReturned {} => None,
//!         };
//!     }
//!
//!     fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
//!         match (command, &self.reader) {
//!             (Command::LendBook { .. }, Some(_)) => Err(Rejection::new("already-lent", "somebody has the book")),
//!             (Command::LendBook { reader }, None) => Ok(vec![Event::BookLent { reader }]),
//!             (Command::ReturnBook {}, Some(_)) => Ok(vec![Event::BookReturned {}]),
//!             (Command::ReturnBook {}, None) => Err(Rejection::new("not-lent", "nobody has the book")),
//!         }
//!     }
//! }
//!
//! pelton_plugin::export_command_handler!(Book);
//!
//! // Its tests are plain `cargo test`:
//! use pelton_plugin::testing::TestCommandHandler;
//!
//! # fn lent() -> Event {
//! #     Event::BookLent { reader: "ada".into() }
//! # }
//! Book::given([]).when(Command::LendBook { reader: "ada".into() }).then([lent()]);
//! Book::given([lent()]).when(Command::LendBook { reader: "bob".into() }).then_rejected("already-lent");
//! Book::given([lent()]).when_sent("return-book", "{}").then([Event::BookReturned {}]);
//! Book::given([]).when_sent("lend-book", r#"{"reader":7}"#).then_rejected("invalid-command");
//! ```
//!
//! Its `Cargo.toml` says `crate-type = ["cdylib", "rlib"]` and depends on this crate and on `serde`; nothing in it
//! may need an operating system. The crate's name and version are the plugin's.
//!
//! # What is on the wire
//!
//! A variant's name is the type of the command or event, its content is the JSON data, and serde's attributes decide
//! both. `#[serde(rename = "book-lent.v2")]` makes version 2 of the event `book-lent`; without it the version is 1.
//! What the plugin takes and emits is read off the enums: there is no second list to keep.
//!
//! - A command that is unknown or unreadable is rejected as [`invalid-command`](INVALID_COMMAND), with serde's message.
//! - An event of its entity that a command handler cannot read or does not know makes the entity's commands fail.
//! - An event that a projection or saga does not know is skipped; one that it cannot read is set aside.
//!
//! # A projection
//!
//! Who has which books: one value for each reader.
//!
//! ```
//! use pelton_plugin::{EventMeta, Projection};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { reader: String },
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct Reader {
//!     books: u64,
//! }
//!
//! pub struct Readers;
//!
//! impl Projection for Readers {
//!     type Event = Event;
//!     type View = Reader;
//!
//!     fn keys(Event::BookLent { reader }: &Event, _: &EventMeta) -> Vec<String> {
//!         vec![reader.clone()]
//!     }
//!
//!     fn apply(_key: &str, view: Option<Reader>, _: &Event, _: &EventMeta) -> Option<Reader> {
//!         Some(Reader { books: view.unwrap_or_default().books + 1 })
//!     }
//! }
//!
//! pelton_plugin::export_projection!(Readers);
//!
//! use pelton_plugin::testing::TestProjection;
//!
//! let lent = || Event::BookLent { reader: "ada".into() };
//! Readers::given([lent(), lent()]).then("ada", &Reader { books: 2 }).then_keys(["ada"]);
//! ```
//!
//! # A saga
//!
//! A reader who keeps a book for thirty days is reminded.
//!
//! ```
//! use std::time::Duration;
//!
//! use pelton_plugin::{Correlation, EventMeta, Failure, Input, Reaction, Saga};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { book: String, reader: String },
//!     BookReturned { book: String },
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     RemindReader { reader: String },
//! }
//!
//! pub struct Reminder;
//!
//! impl Saga for Reminder {
//!     type Event = Event;
//!     type Command = Command;
//!     type State = String;
//!
//!     fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
//!         match event {
//!             Event::BookLent { book, .. } => vec![Correlation::start(book)],
//!             Event::BookReturned { book } => vec![Correlation::advance(book)],
//!         }
//!     }
//!
//!     fn react(_instance: &str, reader: Option<String>, input: Input<Event>) -> Result<Reaction<Self>, Failure> {
//!         Ok(match (input, reader) {
//!             (Input::Event(Event::BookLent { reader, .. }, meta), _) => {
//!                 let due = meta.time + Duration::from_secs(30 * 86_400);
//!                 Reaction::keep(reader).set_timer("overdue", due, &())
//!             }
//!             (Input::Timer(_), Some(reader)) => {
//!                 Reaction::keep(reader.clone()).send(Command::RemindReader { reader })
//!             }
//!             (Input::Outcome(_), Some(reader)) => Reaction::keep(reader),
//!             _ => Reaction::end(),
//!         })
//!     }
//! }
//!
//! pelton_plugin::export_saga!(Reminder);
//!
//! use pelton_plugin::testing::TestSaga;
//!
//! let lent = || Event::BookLent { book: "moby-dick".into(), reader: "ada".into() };
//! Reminder::given([lent()])
//!     .when_timer("moby-dick", "overdue")
//!     .then_sends([Command::RemindReader { reader: "ada".into() }]);
//! Reminder::given([lent()]).when([Event::BookReturned { book: "moby-dick".into() }]).then_ended("moby-dick");
//! ```

// The generated bindings are the only code with pointers in it; see `bindings.rs`.
#[doc(hidden)]
pub mod bindings;
mod codec;
#[doc(hidden)]
pub mod export;
mod handler;
pub mod log;
mod message;
mod projection;
mod saga;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;

pub use handler::CommandHandler;
pub use message::{Context, EventContext, EventMeta, Failure, INVALID_COMMAND, Rejection};
pub use projection::Projection;
pub use saga::{CommandResult, Correlation, Input, Outcome, Reaction, Saga, Timer};
pub use time::{InvalidTimestamp, Timestamp};
