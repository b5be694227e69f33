//! Every port against a real nats-server.

mod append;
mod dead_letters;
mod entities;
mod feed;
mod gate;
mod inbox;
mod load;
mod outcomes;
mod sagas;
mod support;
mod topology;
mod view_reader;
mod views;
mod poison;
