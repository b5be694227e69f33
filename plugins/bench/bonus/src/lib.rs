//! A bonus for every deposit, at once or when the time comes: the smallest saga that has state, commands and timers. The
//! benchmark's yardstick gives it at once, by hand (`bench/yardstick/src/saga.rs`).
#![forbid(unsafe_code)]

use pelton_plugin::{Correlation, EventMeta, Failure, Input, InputContext, Reaction, Saga, Timestamp};
use serde::{Deserialize, Serialize};

/// The events that the saga reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A deposit was made.
    Deposited {
        /// The account.
        account: String,
        /// When the bonus comes, in nanoseconds since 1970; at once without it.
        #[serde(default)]
        due: Option<u64>,
    },
}

/// The command that it sends, to the ledger.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Adds the bonus to an account.
    DepositInThirds {
        /// The account.
        account: String,
        /// One for each deposit so far.
        amount: u64,
        /// The purpose.
        note: String,
    },
}

/// What an instance waits for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timer {
    /// The time of a bonus has come.
    Due {
        /// The account.
        account: String,
    },
}

/// The saga. It has an instance for each account.
#[derive(Debug)]
pub struct Bonus;

impl Saga for Bonus {
    type Event = Event;
    type Command = Command;
    type Timer = Timer;
    /// The number of deposits.
    type State = u64;

    fn correlate(event: &Event, _: &EventMeta) -> Vec<Correlation> {
        let Event::Deposited { account, .. } = event;
        vec![Correlation::start(account)]
    }

    fn react(
        deposits: Option<u64>,
        input: Input<Event, Timer>,
        _: &InputContext,
    ) -> Result<Reaction<Self>, Failure> {
        let deposits = deposits.unwrap_or_default();
        Ok(match input {
            Input::Event(Event::Deposited { account, due: None }, _) => {
                let deposits = deposits + 1;
                Reaction::keep(deposits).send(bonus(account, deposits))
            }
            Input::Event(Event::Deposited { account, due: Some(due) }, _) => {
                let due = Timestamp::from_nanos(due);
                Reaction::keep(deposits).set_timer("due", due, &Timer::Due { account })
            }
            Input::Timer(Timer::Due { account }, _) => Reaction::end().send(bonus(account, deposits)),
            Input::Outcome(_) => Reaction::keep(deposits),
        })
    }
}

fn bonus(account: String, amount: u64) -> Command {
    Command::DepositInThirds { account, amount, note: "bonus".to_owned() }
}

pelton_plugin::export_saga!(Bonus);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pelton_plugin::testing::TestSaga;

    use super::*;

    #[test]
    fn every_deposit_has_its_bonus_at_once_or_at_its_time() {
        let deposit = r#"{"account":"a","amount":7,"balance":7}"#;
        let later = r#"{"account":"a","due":4000000000000000000}"#;
        Bonus::given::<()>([])
            .when_recorded("deposited", 1, deposit)
            .then_sends([bonus("a".to_owned(), 1)])
            .when_recorded("deposited", 1, deposit)
            .then_sends([bonus("a".to_owned(), 2)])
            .when_recorded("deposited", 1, later)
            .then_sends([])
            .advance(Duration::from_secs(4_000_000_000))
            .then_sends([bonus("a".to_owned(), 2)])
            .then_ended("a");
    }
}
