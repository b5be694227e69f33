//! Deposits on accounts: the smallest handler that has rules and JSON. The benchmark's yardsticks decide the same
//! natively (`bench/yardstick/src/ledger.rs`).
#![forbid(unsafe_code)]

use pelton_plugin::{CommandHandler, Context, Rejection};
use serde::{Deserialize, Serialize};

/// The commands of an account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Leads to one event.
    Deposit(Deposit),
    /// Leads to three events of a third each.
    DepositInThirds(Deposit),
}

/// A deposit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Deposit {
    /// The account.
    pub account: String,
    /// The amount, at least 1.
    pub amount: u64,
    /// The purpose.
    pub note: String,
}

/// The events of an account.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A deposit was made.
    Deposited {
        /// The account.
        account: String,
        /// The amount.
        amount: u64,
        /// The balance after the deposit.
        balance: u64,
        /// The purpose.
        note: String,
    },
}

/// The codes of rejections.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A deposit is at least 1.
    NothingDeposited,
    /// The account cannot hold so much.
    AccountFull,
}

/// The state of an account.
#[derive(Debug, Default)]
pub struct Account {
    balance: u64,
}

impl CommandHandler for Account {
    type Command = Command;
    type Event = Event;
    type Rule = Rule;

    fn evolve(&mut self, event: Event) {
        let Event::Deposited { balance, .. } = event;
        self.balance = balance;
    }

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection<Rule>> {
        let (Command::Deposit(Deposit { amount, .. }) | Command::DepositInThirds(Deposit { amount, .. })) =
            command;
        if amount == 0 {
            return Err(Rejection::new(Rule::NothingDeposited, "a deposit is at least 1"));
        }
        if self.balance.checked_add(amount).is_none() {
            return Err(Rejection::new(Rule::AccountFull, "the account cannot hold so much"));
        }
        Ok(match command {
            Command::Deposit(deposit) => self.deposited(&deposit, &[amount]),
            Command::DepositInThirds(deposit) => {
                self.deposited(&deposit, &[amount / 3, amount / 3, amount - amount / 3 * 2])
            }
        })
    }

    /// With the setting `snapshots`: without it, an entity's messages are the same as the yardsticks'.
    fn snapshot(&self) -> Option<Vec<u8>> {
        pelton_plugin::settings::get("snapshots")?;
        Some(self.balance.to_le_bytes().to_vec())
    }

    fn restore(snapshot: &[u8]) -> Result<Self, String> {
        let balance = snapshot.try_into().map_err(|_| "a snapshot has 8 bytes".to_owned())?;
        Ok(Self { balance: u64::from_le_bytes(balance) })
    }
}

impl Account {
    fn deposited(&self, deposit: &Deposit, parts: &[u64]) -> Vec<Event> {
        let mut balance = self.balance;
        let events = parts.iter().map(|&amount| {
            balance += amount;
            let Deposit { account, note, .. } = deposit;
            Event::Deposited { account: account.clone(), amount, balance, note: note.clone() }
        });
        events.collect()
    }
}

pelton_plugin::export_command_handler!(Account);

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::TestCommandHandler;

    use super::*;

    fn deposited(amount: u64, balance: u64) -> Event {
        Event::Deposited { account: "1".to_owned(), amount, balance, note: "n".to_owned() }
    }

    #[test]
    fn thirds_are_whole_and_add_up() {
        let deposit = Deposit { account: "1".to_owned(), amount: 5, note: "n".to_owned() };
        Account::given([deposited(10, 10)]).when(Command::DepositInThirds(deposit)).then([
            deposited(1, 11),
            deposited(1, 12),
            deposited(3, 15),
        ]);
    }

    #[test]
    fn what_is_nothing_or_too_much_is_rejected() {
        let send = |given: Vec<Event>, amount: u64| {
            Account::given(given)
                .when_sent("deposit", &format!(r#"{{"account":"1","amount":{amount},"note":""}}"#))
        };
        send(vec![], 0).then_rejected("nothing-deposited");
        send(vec![deposited(1, 1)], u64::MAX).then_rejected("account-full");
    }
}
