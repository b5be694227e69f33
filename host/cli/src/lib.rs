//! The `pelton` command as a library, so that tests can use its parts.
//!
//! A run: [`prepare`] reads the configuration ([`config`]) and loads its components ([`components`] checks them against
//! it); [`host`] connects, starts the flows and the gateway, waits, and stops.
#![forbid(unsafe_code)]

pub mod args;
pub mod check;
pub mod component;
pub mod components;
pub mod config;
pub mod dev;
pub mod dlq;
pub mod examples;
#[cfg(debug_assertions)]
mod failpoints;
pub mod failure;
mod flows;
pub mod host;
pub mod prepare;
pub mod signals;
mod tasks;
pub mod telemetry;
