//! Candidates that must not run, each broken in one way, and which step of a switch stopped it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;

use crate::place;

#[path = "../../../host/wasm/tests/it/guests.rs"]
#[allow(dead_code, reason = "other crates use the rest")]
mod guests;

/// The commands and the events of the payment's `order`.
const COMMANDS: (&str, &str) = ("commands", "place-order withdraw refund request-refund approve-refund");
const NO_EVENTS: (&str, &str) = ("events", "");
const TRAPS: &str = "(unreachable)";

/// What is wrong with a candidate. None of them decides anything, so that one that is activated all the same leaves no trace
/// but faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Broken {
    /// It is the first half of a component.
    IsHalf,
    /// It is text.
    IsText,
    /// It is a module of a compiler, and not a component.
    IsModule,
    /// It has another role.
    HasOtherRole,
    /// It imports what the tier of the plugin does not allow.
    ImportsTooMuch,
    /// Its memory is larger than the limit from the start.
    WantsMemory,
    /// It traps when it is asked for its descriptor.
    CannotDescribe,
    /// It takes other commands.
    TakesOtherCommands,
    /// It emits an event that the version before cannot read.
    HasNoWayBack,
    /// It emits an event in a version that a projection cannot read.
    HasNoReaders,
    /// It traps on every command.
    BreaksOnCommands,
    /// It traps on every event.
    BreaksOnEvents,
}

impl Broken {
    pub(super) const ALL: [Self; 12] = [
        Self::IsHalf,
        Self::IsText,
        Self::IsModule,
        Self::HasOtherRole,
        Self::ImportsTooMuch,
        Self::WantsMemory,
        Self::CannotDescribe,
        Self::TakesOtherCommands,
        Self::HasNoWayBack,
        Self::HasNoReaders,
        Self::BreaksOnCommands,
        Self::BreaksOnEvents,
    ];

    /// The candidate. `good` is a component that works.
    pub(super) fn candidate(self, good: &[u8]) -> anyhow::Result<Vec<u8>> {
        let built = |name: &str| anyhow::Ok(fs::read(place::plugins()?.join(name))?);
        let decide = ("decide", TRAPS);
        Ok(match self {
            Self::IsHalf => good[..good.len() / 2].to_vec(),
            Self::IsText => b"(component)".to_vec(),
            Self::IsModule => guests::wat("(module)"),
            Self::HasOtherRole => built("payment-orders-view.wasm")?,
            Self::ImportsTooMuch => built("hotel-booking-js.wasm")?,
            Self::WantsMemory => guests::handler(&[COMMANDS, NO_EVENTS, decide, ("pages", "2000")]),
            Self::CannotDescribe => guests::handler(&[("describe", TRAPS)]),
            Self::TakesOtherCommands => built("hotel-booking.wasm")?,
            Self::HasNoWayBack => guests::handler(&[COMMANDS, ("events", "order-lost"), decide]),
            Self::HasNoReaders => guests::handler(&[COMMANDS, ("events", "order-placed@9"), decide]),
            Self::BreaksOnCommands => guests::handler(&[COMMANDS, NO_EVENTS, decide]),
            Self::BreaksOnEvents => guests::handler(&[COMMANDS, NO_EVENTS, decide, ("evolve", TRAPS)]),
        })
    }

    /// Whether a rollback from it is given up, so that another step has to stop it.
    pub(super) fn is_one_way(self) -> bool {
        self == Self::HasNoReaders
    }

    /// Whether it may be activated where there is nothing yet to try it on: the version before decides what it breaks.
    pub(super) fn may_be_on_trial(self) -> bool {
        matches!(self, Self::BreaksOnCommands | Self::BreaksOnEvents)
    }
}

/// How often each kind was stopped by which step.
#[derive(Debug, Default)]
pub(super) struct Stopped(BTreeMap<(Broken, String), u32>);

impl Stopped {
    pub(super) fn add(&mut self, broken: Broken, by: &str) {
        *self.0.entry((broken, by.to_owned())).or_default() += 1;
    }
}

impl Display for Stopped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for ((broken, by), times) in &self.0 {
            writeln!(f, "crash: {broken:?} was stopped by {by}: {times}")?;
        }
        Ok(())
    }
}
