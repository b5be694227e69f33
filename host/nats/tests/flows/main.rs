//! Every port against a real nats-server.

mod append;
mod connection;
mod consumer;
mod dead_letters;
mod entities;
mod feed;
mod ingress;
mod load;
mod operator;
mod parking;
mod poison;
mod register;
mod sagas;
mod server;
mod snapshots;
mod support;
mod topology;
mod unroutable;
mod view_reader;
mod views;
