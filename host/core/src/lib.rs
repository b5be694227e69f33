//! Pelton's domain. It does no I/O: it reaches the world through ports.
//!
//! Start with [`command`], the path of a command on one page. The modules lie on floors, and each imports only from the
//! floors below it: words ([`id`], [`time`], [`text`], [`subject`], [`partition`], [`cloudevents`], [`message`]); what all roles share
//! ([`contract`], [`plugin`], [`store`], [`consumer`], [`recorded`], [`retry`], [`dead_letter`], [`intake`], [`outcomes`],
//! [`telemetry`]); the roles ([`command`], [`projection`], [`saga`]), which do not import each other and own their
//! ports; what a gateway needs ([`client`]); the ports in memory ([`memory`]).

pub mod cloudevents;
pub mod id;
pub mod message;
pub mod partition;
pub mod subject;
pub mod text;
pub mod time;
pub mod trial;

pub mod consumer;
pub mod contract;
pub mod dead_letter;
pub mod intake;
pub mod outcomes;
pub mod plugin;
pub mod recorded;
pub mod retry;
pub mod store;
pub mod telemetry;

pub mod command;
pub mod projection;
pub mod saga;

pub mod client;

pub mod memory;
