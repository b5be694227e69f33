//! Sagas on a stream of their own each: instances, armed timers, inputs, and how far the saga has read.
//!
//! An instance is the last message at its subject. A timer is a message that the server stores again, as an input, when it is
//! due; setting one replaces the message at its subject, and a message that names the timer as ended cancels it. So an
//! instance and all changes of its timers are one atomic batch, or one message where no timer is set.

mod feeds;
mod journal;
pub(crate) mod outcomes;
mod store;
mod view;

pub use feeds::SagaStreamFeeds;
pub use store::{SagaStreams, SagaTimes};
pub use view::{Changed, SagaView, StoredInstance};
