//! The suite that a plugin must pass: cases, which say what a plugin should do, and rules, which every plugin keeps.
//!
//! A case is given events, an input, and what follows. Rules need no expectation: they hold what the host counts on, for
//! example that a decision does not change when it is asked for again. They take their inputs from the cases.
//!
//! The bytes that are tested are the bytes that will run, on the host's own sandbox. Nothing here knows NATS, and nothing
//! sleeps. One seed replays everything.
#![forbid(unsafe_code)]

pub mod case;
mod hostile;
mod inputs;
pub mod report;
pub mod rule;
mod rules;
mod run;
mod saga;
mod view;

pub use case::{CaseFile, MalformedCases};
pub use report::Report;
pub use rule::{Finding, Rule};
pub use run::{Suite, Untestable};
