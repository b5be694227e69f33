//! Pelton on NATS JetStream: the ports of `pelton-core` as streams, consumers and key-value buckets.
//!
//! Start with [`topology`]: what is on the server. A command comes in through [`gate`], waits in [`inbox`], and ends in
//! [`command_store`]. [`server`] runs a nats-server of our own for development and tests.
#![forbid(unsafe_code)]

mod announce;
mod append;
mod batch;
pub mod bucket;
pub mod command_store;
pub mod connection;
pub mod dead_letters;
#[cfg(debug_assertions)]
pub mod failpoint;
pub mod feed;
pub mod gate;
mod gather;
mod guarded;
pub mod inbox;
mod load;
mod look_up;
pub mod orphans;
mod queue;
mod register;
pub mod sagas;
pub mod server;
mod snapshots;
pub mod topology;
pub mod view_reader;
pub mod views;
mod wire;

pub use bucket::Bucket;
pub use command_store::{StoreSettings, StreamStore};
pub use connection::{ConnectError, ConnectSettings, Credentials, Nats};
pub use dead_letters::Letters;
pub use feed::StreamFeed;
pub use gate::StreamGate;
pub use inbox::{ConsumerDelivery, ConsumerInbox};
pub use sagas::SagaStates;
pub use server::{Server, ServerError};
pub use topology::{Topology, TopologyError};
pub use view_reader::BucketReader;
pub use views::BucketViews;
