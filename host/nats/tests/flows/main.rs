//! Every port against a real nats-server.

mod append;
mod connection;
mod consumer;
mod dead_letters;
mod entities;
mod feed;
mod ingress;
mod load;
mod log;
mod operator;
mod parking;
mod pinned;
mod plugin_store;
mod poison;
mod recording;
mod sagas;
mod server;
mod snapshots;
mod status;
mod support;
mod topology;
mod view_reader;
mod views;
