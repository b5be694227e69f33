//! The ports in memory: for tests of the flows, and for checking plugins without a server.
//!
//! [`FlakyNetwork`] makes them behave like a network: answers come late, and requests get lost before or after their
//! effect. All of it follows from a seed, so that a run can be replayed.

mod consumer;
mod dead_letters;
mod feed;
mod log;
mod network;
mod sagas;
mod store;
mod views;

pub use consumer::{MemoryConsumer, MemoryDelivery, MemoryQueue};
pub use dead_letters::MemoryDeadLetters;
pub use feed::MemoryFeed;
pub use log::{MemoryLog, MemoryLogFeed};
pub use network::FlakyNetwork;
pub use sagas::{MemorySagas, SentCommand};
pub use store::MemoryStore;
pub use views::MemoryViews;
