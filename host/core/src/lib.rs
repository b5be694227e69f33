//! Pelton's domain. It does no I/O: what it needs of the world it asks of the ports in [`ports`].
//!
//! Start with [`command`]: the path of a command on one page.

pub mod cloudevents;
pub mod command;
pub mod dead_letter;
pub mod decision;
pub mod entity;
pub mod failure;
pub mod gate;
pub mod history;
pub mod id;
pub mod intake;
pub mod lanes;
pub mod memory;
pub mod message;
pub mod outcome;
pub mod past;
pub mod ports;
pub mod projection;
pub mod saga;
pub mod settle;
pub mod snapshot;
pub mod subject;
pub mod text;
pub mod time;
pub mod view;
