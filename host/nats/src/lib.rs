//! Pelton on NATS JetStream: the ports of `pelton-core` as streams, consumers and key-value buckets.
//!
//! Start with [`topology`], the objects on the server, and [`subjects`], their names. A command comes in through
//! [`commands::StreamIngress`], is delivered by [`consumer::PullConsumer`], and ends in [`commands::StreamStore`].
//! [`server`] runs a nats-server of our own for development and tests.
#![forbid(unsafe_code)]

pub mod commands;
pub mod connection;
pub mod consumer;
pub mod dead_letters;
#[cfg(debug_assertions)]
pub mod failpoint;
pub mod hosts;
pub mod permissions;
pub mod plugin_store;
pub mod recording;
pub mod sagas;
pub mod server;
pub mod status;
pub mod subjects;
pub mod topology;
pub mod views;
mod wire;

pub use commands::{Commands, StoreSettings, StreamIngress, StreamStore};
pub use connection::{ConnectError, ConnectSettings, Credentials, Nats};
pub use consumer::{Assignment, HandlerCommands, Members, PullConsumer, PullDelivery, StreamFeed};
pub use dead_letters::StreamDeadLetters;
pub use plugin_store::PluginStore;
pub use sagas::{SagaStreamFeeds, SagaStreams};
pub use server::{Server, ServerError};
pub use topology::{Topology, TopologyError};
pub use views::{Bucket, BucketReader, BucketViews};
pub use wire::Gathered;
