//! Pelton on NATS JetStream: the ports of `pelton-core` as streams, consumers and key-value buckets.
//!
//! Start with [`topology`]: what is on the server.
#![forbid(unsafe_code)]

mod batch;
pub mod connection;
pub mod server;
pub mod topology;
pub mod bucket;
mod append;
pub mod command_store;
pub mod dead_letters;
mod gather;
pub mod inbox;
mod load;
mod outcomes;
pub mod feed;
pub mod gate;
mod guarded;
pub mod sagas;
pub mod view_reader;
pub mod views;
mod wire;

pub use connection::{ConnectError, ConnectSettings, Credentials, Nats};
pub use server::{Server, ServerError};
pub use topology::{Topology, TopologyError};
pub use bucket::Bucket;
pub use feed::StreamFeed;
pub use command_store::{StoreSettings, StreamStore};
pub use inbox::{ConsumerDelivery, ConsumerInbox};
pub use gate::StreamGate;
pub use sagas::SagaStates;
pub use view_reader::BucketReader;
pub use views::BucketViews;
