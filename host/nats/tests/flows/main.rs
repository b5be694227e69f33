//! Every port against a real nats-server.

mod append;
mod connection;
mod dead_letters;
mod entities;
mod feed;
mod gate;
mod inbox;
mod load;
mod operator;
mod orphans;
mod parking;
mod poison;
mod register;
mod sagas;
mod server;
mod snapshots;
mod support;
mod topology;
mod view_reader;
mod views;
