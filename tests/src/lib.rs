//! Pelton, end to end: the real program, a real nats-server, real components, and requests over HTTP.
//!
//! The code that the demo (`src/bin/demo.rs`) and the tests (`tests/e2e`) share. An [`example::Example`] is data: the
//! demo shows it, the tests check it.
#![forbid(unsafe_code)]

pub mod component;
pub mod crash;
pub mod example;
pub mod hotel;
pub mod http;
pub mod library;
pub mod payment;
pub mod place;
pub mod process;
pub mod publisher;
pub mod streams;

use std::time::Duration;

/// The time after which anything counts as broken. Generous, because builds and other tests use the same processors.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The wait between two checks of something that is expected to change.
pub const PAUSE: Duration = Duration::from_millis(50);
