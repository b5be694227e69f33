//! The sources of messages: durable pull consumers, and feeds of a stream's events.

mod delivered;
mod delivery;
mod feed;
pub(crate) mod pin;
mod pull;
mod unreadable;

pub use delivery::PullDelivery;
pub use feed::StreamFeed;
pub use pin::Turn;
pub use pull::PullConsumer;
