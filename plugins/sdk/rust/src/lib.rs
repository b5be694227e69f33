//! Pelton plugins in plain Rust.
//!
//! A plugin is a few serde types and a few functions. This crate adds the WebAssembly exports, the JSON, the plugin's
//! description, and a test harness that runs without WebAssembly.
//!
//! The samples are the plugins of `plugins/library` in Pelton's repository, which its tests run together: a library lends
//! books, keeps a view of who has which, and reminds a reader of a book that somebody else asks for.
//!
//! # A command handler
//!
//! Each book is an entity; the rules say what may happen to it.
//!
//! <!-- from: plugins/library/books/src/lib.rs -->
//! ```
//! use pelton_plugin::{CommandHandler, Context, Rejection};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     LendBook { book: String, reader: String },
//!     ReturnBook { book: String },
//!     AskForBook { book: String, reader: String },
//! }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { book: String, reader: String },
//!     BookReturned { book: String, reader: String },
//!     BookAskedFor { book: String, reader: String },
//! }
//!
//! /// Why a command is rejected.
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Rule {
//!     NoName,
//!     AlreadyLent,
//!     NotLent,
//! }
//!
//! /// One book: who has it.
//! #[derive(Debug, Default)]
//! pub struct Book {
//!     reader: Option<String>,
//! }
//!
//! impl CommandHandler for Book {
//!     type Command = Command;
//!     type Event = Event;
//!     type Rule = Rule;
//!
//!     fn evolve(&mut self, event: Event) {
//!         match event {
//!             Event::BookLent { reader, .. } => self.reader = Some(reader),
//!             Event::BookReturned { .. } => self.reader = None,
//!             Event::BookAskedFor { .. } => {}
//!         }
//!     }
//!
//!     fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
//!         match (command, &self.reader) {
//!             (Command::LendBook { reader, .. }, _) if !is_name(&reader) => {
//!                 Err(Rejection::new(Rule::NoName, "a reader's name has 1 to 64 letters, digits and -"))
//!             }
//!             (Command::LendBook { book, reader }, None) => Ok(vec![Event::BookLent { book, reader }]),
//!             (Command::LendBook { .. }, Some(reader)) => {
//!                 Err(Rejection::new(Rule::AlreadyLent, "somebody has the book").detail("reader", reader))
//!             }
//!             (Command::ReturnBook { book }, Some(reader)) => {
//!                 Ok(vec![Event::BookReturned { book, reader: reader.clone() }])
//!             }
//!             (Command::AskForBook { book, reader }, Some(_)) => Ok(vec![Event::BookAskedFor { book, reader }]),
//!             (Command::ReturnBook { .. } | Command::AskForBook { .. }, None) => {
//!                 Err(Rejection::new(Rule::NotLent, "nobody has the book"))
//!             }
//!         }
//!     }
//! }
//!
//! pelton_plugin::export_command_handler!(Book);
//! # fn is_name(text: &str) -> bool {
//! #     (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
//! # }
//! ```
//!
//! Its tests are plain `cargo test`, given, when, then; [`testing`] says more.
//!
//! <!-- from: plugins/library/books/src/lib.rs -->
//! ```ignore
//! use pelton_plugin::testing::TestCommandHandler;
//! // …
//! fn lent() -> Event {
//!     Event::BookLent { book: "emma".into(), reader: "ada".into() }
//! }
//! // …
//! let lend = || Command::LendBook { book: "emma".into(), reader: "ada".into() };
//! Book::given([]).when(lend()).then([lent()]);
//! Book::given([lent()]).when(lend()).then_rejected("already-lent");
//! // …
//! Book::given([]).when_sent("lend-book", r#"{"reader":7}"#).then_rejected("invalid-command");
//! ```
//!
//! Its `Cargo.toml` has `crate-type = ["cdylib", "rlib"]` and depends on this crate and on `serde`. No dependency may
//! need an operating system. The crate's name and version become the plugin's.
//!
//! # What is on the wire
//!
//! The name of a variant is the type of the command or event, and its content is the JSON data. serde's attributes
//! control both. `#[serde(rename = "book-lent.v2")]` is version 2 of the event `book-lent`; without it the version is
//! 1.
//! The descriptor lists the variants of the enums, so there is no second list to keep. An enum of commands needs
//! `Deserialize` in the handler that takes them, and also `Serialize` in sagas that send them and in tests.
//!
//! - An unknown or unreadable command is rejected as [`invalid-command`](INVALID_COMMAND), with serde's message.
//! - If a command handler does not know or cannot read an event of an entity, the entity's commands fail.
//! - A projection or saga skips an event that it does not know. An event that it cannot read is set aside.
//! - Fields that an enum does not have are skipped; `#[serde(deny_unknown_fields)]` refuses them.
//!
//! # A projection
//! The books that each reader has: one value for each reader. The view has its own enum of the events that it reads, so
//! it depends on the form of the handler's events, not on its crate.
//!
//! <!-- from: plugins/library/readers/src/lib.rs -->
//! ```
//! use pelton_plugin::{EventMeta, Projection, Timestamp};
//! use serde::{Deserialize, Serialize};
//!
//! /// What it reads. The host leaves out all other events.
//! #[derive(Debug, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { book: String, reader: String },
//!     BookReturned { book: String, reader: String },
//! }
//!
//! /// The value under a reader's name.
//! #[derive(Debug, Default, Serialize, Deserialize)]
//! pub struct Reader {
//!     pub books: Vec<String>,
//!     pub since: Timestamp,
//! }
//!
//! /// The view.
//! #[derive(Debug)]
//! pub struct Readers;
//!
//! impl Projection for Readers {
//!     type Event = Event;
//!     type View = Reader;
//!
//!     fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
//!         match event {
//!             Event::BookLent { reader, .. } | Event::BookReturned { reader, .. } => vec![reader.clone()],
//!         }
//!     }
//!
//!     fn apply(_key: &str, view: Option<Reader>, event: &Event, meta: &EventMeta) -> Option<Reader> {
//!         let Reader { mut books, .. } = view.unwrap_or_default();
//!         match event {
//!             Event::BookLent { book, .. } => books.push(book.clone()),
//!             Event::BookReturned { book, .. } => books.retain(|other| other != book),
//!         }
//!         // A reader without books has no value.
//!         (!books.is_empty()).then_some(Reader { books, since: meta.time })
//!     }
//! }
//!
//! pelton_plugin::export_projection!(Readers);
//! ```
//!
//! In its tests, events can be those of the handler that emits them, so that both are known to fit:
//!
//! <!-- from: plugins/library/readers/src/lib.rs -->
//! ```ignore
//! Readers::given([lent("emma"), lent("dune"), returned("emma")])
//!     .and([event(lent("ulysses")).at(START)])
//!     .then("ada", &Reader { books: vec!["dune".into(), "ulysses".into()], since: START });
//! ```
//!
//! # A saga
//!
//! A reader who has a book is reminded when another reader asks for it, and every day from then on until the book is back:
//! one instance for each book that is lent.
//!
//! <!-- from: plugins/library/waiting/src/lib.rs -->
//! ```
//! use std::time::Duration;
//!
//! use pelton_plugin::{Correlation, EventMeta, Failure, Input, InputContext, Reaction, Saga};
//! use serde::{Deserialize, Serialize};
//!
//! /// A little more than the day within which a reader is not reminded twice.
//! const AGAIN: Duration = Duration::from_secs(24 * 60 * 60 + 60);
//!
//! /// What it reads, of `library-books`.
//! #[derive(Debug, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Event {
//!     BookLent { book: String, reader: String },
//!     BookAskedFor { book: String },
//!     BookReturned { book: String },
//! }
//!
//! /// What it sends, to `library-notices`.
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Command {
//!     RemindReader { reader: String, book: String },
//! }
//!
//! /// What it waits for.
//! #[derive(Debug, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! pub enum Timer {
//!     RemindAgain { book: String },
//! }
//!
//! /// One instance for each book that is lent.
//! #[derive(Debug)]
//! pub struct Waiting;
//!
//! impl Saga for Waiting {
//!     type Event = Event;
//!     type Command = Command;
//!     type Timer = Timer;
//!     /// Who has the book.
//!     type State = String;
//!
//!     fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
//!         match event {
//!             Event::BookLent { book, .. } => vec![Correlation::start(book)],
//!             Event::BookAskedFor { book } | Event::BookReturned { book } => vec![Correlation::advance(book)],
//!         }
//!     }
//!
//!     fn react(
//!         has: Option<String>,
//!         input: Input<Event, Timer>,
//!         context: &InputContext,
//!     ) -> Result<Reaction<Self>, Failure> {
//!         Ok(match (input, has) {
//!             (Input::Event(Event::BookLent { reader, .. }, _), _) => Reaction::keep(reader),
//!             (
//!                 Input::Event(Event::BookAskedFor { book }, _) | Input::Timer(Timer::RemindAgain { book }, _),
//!                 Some(has),
//!             ) => {
//!                 let tomorrow = context.time + AGAIN;
//!                 Reaction::keep(has.clone())
//!                     .send(Command::RemindReader { reader: has, book: book.clone() })
//!                     .set_timer("again", tomorrow, &Timer::RemindAgain { book })
//!             }
//!             // The book is back; its timer is cancelled with the instance.
//!             _ => Reaction::end(),
//!         })
//!     }
//! }
//!
//! pelton_plugin::export_saga!(Waiting);
//! ```
//!
//! Its tests see what it sends, and that a handler takes that:
//!
//! <!-- from: plugins/library/waiting/src/lib.rs -->
//! ```ignore
//! lent().then_sends([]).when(asked()).then_sends([remind()]).when(asked()).then_sends([remind()]);
//! // …
//! Notices::given([])
//!     .when_received(&remind())
//!     .then([Notice::ReaderReminded { reader: "ada".into(), book: "emma".into() }]);
//! ```
//!
//! An instance also gets the outcomes of its commands ([`Input::Outcome`]), if the saga says so ([`Saga::OUTCOMES`]), and
//! [`Undo`] keeps what undoes the steps that it has taken.

// Only the generated bindings use pointers; see `bindings.rs`.
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
pub mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod undo;

pub use handler::CommandHandler;
pub use message::{Context, EventContext, EventMeta, Failure, INVALID_COMMAND, Rejection};
pub use projection::Projection;
pub use saga::{
    CommandResult, Correlation, DueTimer, Input, InputContext, Migrated, NoTimers, OldInstance, OldTimer,
    Outcome, Outcomes, Outgoing, Reaction, Saga, SagaMigration,
};
#[cfg(feature = "schemas")]
pub use schemars;
pub use time::{InvalidTimestamp, Timestamp};
pub use undo::Undo;
