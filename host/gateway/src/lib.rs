//! Pelton over HTTP: commands in, outcomes and views out.
//!
//! A command's path is in [`commands`]: read the body, check what would make the stored message undecodable, store it,
//! wait for its outcome as long as the client asked. Nothing is stored for a request that is refused. Every refusal
//! goes through one function, in [`refusal`].
//!
//! The crate knows the ports of `pelton_core::client` and nothing of their implementations.
#![forbid(unsafe_code)]

mod commands;
mod http;
mod refusal;
mod router;
mod routes;
mod state;
mod views;

pub use router::Gateway;
pub use routes::{Route, RouteError, Routes};
pub use state::{PluginState, Settings};
