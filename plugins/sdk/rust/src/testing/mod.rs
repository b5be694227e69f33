//! Tests of a plugin's rules by plain `cargo test`: given events, when an input, then its effects.
//!
//! Events and commands are encoded and decoded as in the host, so a test also covers their JSON. If the plugin takes
//! snapshots, one is taken and restored before every decision.
//!
//! An event that nothing else is said of happened to the entity `test` (for a command handler: to the entity of the
//! command), one second after the event before it, and has the next sequence: event `n`, counted from 1, has the sequence
//! `n`, the id `event-<n>`, and happened `n` seconds after [`START`]. [`event`] says otherwise, in every role:
//!
//! ```
//! # use pelton_plugin::{EventMeta, Projection, Timestamp};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # #[serde(rename_all = "kebab-case")]
//! # enum Event { BookLent { reader: String } }
//! # struct Shelves;
//! # impl Projection for Shelves {
//! #     type Event = Event;
//! #     type View = (Timestamp, u64);
//! #     fn keys(_: &Event, meta: &EventMeta) -> Vec<String> { vec![meta.entity.clone().unwrap_or_default()] }
//! #     fn apply(_: &str, _: Option<Self::View>, _: &Event, meta: &EventMeta) -> Option<Self::View> {
//! #         Some((meta.time, meta.sequence))
//! #     }
//! # }
//! # pelton_plugin::export_projection!(Shelves);
//! use pelton_plugin::testing::{START, TestProjection, event};
//!
//! let lent = || Event::BookLent { reader: "ada".into() };
//! Shelves::given([event(lent()).entity("emma").at(START).sequence(7)]).then("emma", &(START, 7));
//! ```
//!
//! A failed assertion prints the given events, the input, and the expected result beside the actual one, all as JSON.

mod events;
mod handler;
mod projection;
mod report;
mod saga;

use crate::Timestamp;
use crate::settings::native::SET;

/// Sets the plugin's [`settings`](crate::settings) on this thread, until the answer is dropped. A test sees no settings
/// but these.
///
/// ```
/// let _set = pelton_plugin::testing::settings([("deadline", "15m")]);
/// assert_eq!(pelton_plugin::settings::get("deadline").as_deref(), Some("15m"));
/// ```
#[must_use = "the settings hold until it is dropped"]
pub fn settings<const N: usize>(entries: [(&str, &str); N]) -> Settings {
    let mut entries = entries.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    entries.sort();
    Settings(SET.replace(entries))
}

/// The settings of a test. Dropped, it puts back what was set before.
#[derive(Debug)]
pub struct Settings(Vec<(String, String)>);

impl Drop for Settings {
    fn drop(&mut self) {
        SET.set(std::mem::take(&mut self.0));
    }
}

pub use events::{IntoTestEvent, TestEvent, event, raw_event};
pub use handler::{Decision, Given, TestCommandHandler};
pub use projection::{TestProjection, ViewAfter};
pub use saga::{OldTimer, SagaAfter, TestSaga, TestSagaMigration};

/// 2000-01-01T00:00:00Z, the time at which tests begin.
pub const START: Timestamp = Timestamp::from_nanos(946_684_800_000_000_000);
