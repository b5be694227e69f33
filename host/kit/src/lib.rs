//! The suite that a plugin must pass: cases, which say what a plugin should do, and rules, which every plugin keeps.
//!
//! A case has given events, an input, and an expected result. Rules need no expectation: they check what the host
//! relies on, for example that a decision is the same each time. They take their inputs from the cases, then from the
//! schemas that the plugin declares, then from both with changes.
//!
//! The suite tests the bytes that will run, in the host's own sandbox. It does not know NATS, and it does not sleep.
//! One seed replays everything.
#![forbid(unsafe_code)]

pub mod case;
mod cases;
mod corpus;
mod generate;
mod guest;
mod hostile;
mod inputs;
mod json;
mod matcher;
mod meter;
pub mod recording;
pub mod rehearsal;
pub mod replay;
pub mod report;
mod reproduce;
pub mod rule;
mod rules;
mod run;
mod saga;
mod shrink;
mod strict;
mod update;
mod verdict;
mod view;

pub use case::{CaseFile, MalformedCases};
pub use meter::Usage;
pub use recording::Recording;
pub use replay::{Replay, Replayed};
pub use report::{Form, Report};
pub use reproduce::{Failing, FailingInput, NotReproduced};
pub use rule::{Finding, Level, Rule};
pub use run::{Effort, Suite, Untestable};
pub use update::updated;
pub use verdict::{Basis, NotTested, Refused, Verdict};
