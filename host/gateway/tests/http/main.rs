//! The gateway as its clients see it, on ports in memory.
#![forbid(unsafe_code)]

mod check;
mod commands;
mod fakes;
mod reads;
mod server;
