//! The ports in memory: for tests of the flows, and for checking plugins without a server.
//!
//! [`Weather`] makes them behave like a network: answers come late, get lost after the effect or before it. All of it
//! follows from a seed, so that a run can be replayed.

mod inbox;
mod letters;
mod store;
mod views;
mod weather;

pub use inbox::{MemoryDelivery, MemoryInbox, MemoryQueue};
pub use letters::MemoryLetters;
pub use store::MemoryStore;
pub use views::MemoryViews;
pub use weather::Weather;
