//! The sources of messages: durable pull consumers, and feeds of a stream's events.

mod delivered;
mod delivery;
mod feed;
mod handler;
pub(crate) mod members;
pub(crate) mod pin;
mod pull;
mod takeover;
mod unreadable;

pub use delivery::PullDelivery;
pub use feed::StreamFeed;
pub use handler::HandlerCommands;
pub use members::{Assignment, Members};
pub use pull::PullConsumer;
