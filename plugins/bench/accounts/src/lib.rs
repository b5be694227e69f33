//! The view of the ledger's accounts, one value an account. The benchmark's yardstick keeps the same view by hand
//! (`bench/yardstick/src/view.rs`).
#![forbid(unsafe_code)]

use pelton_plugin::{EventMeta, Projection};
use serde::{Deserialize, Serialize};

/// The events that the view reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A deposit was made.
    Deposited {
        /// The account.
        account: String,
        /// The balance after the deposit.
        balance: u64,
    },
}

/// One account.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub account: String,
    /// The balance.
    pub balance: u64,
    /// The number of deposits.
    pub deposits: u64,
}

/// The view of accounts.
#[derive(Debug)]
pub struct Accounts;

impl Projection for Accounts {
    type Event = Event;
    type View = Account;

    fn keys(event: &Event, _: &EventMeta) -> Vec<String> {
        let Event::Deposited { account, .. } = event;
        vec![account.clone()]
    }

    fn apply(_: &str, view: Option<Account>, event: &Event, _: &EventMeta) -> Option<Account> {
        let Event::Deposited { account, balance } = event;
        let deposits = view.map_or(0, |view| view.deposits) + 1;
        Some(Account { account: account.clone(), balance: *balance, deposits })
    }
}

pelton_plugin::export_projection!(Accounts);

#[cfg(test)]
mod tests {
    use pelton_plugin::testing::TestProjection;

    use super::*;

    #[test]
    fn deposits_are_counted_by_account() {
        let event = |account: &str, balance: u64| format!(r#"{{"account":"{account}","balance":{balance}}}"#);
        let after = Accounts::given::<()>([])
            .recorded("deposited", 1, &event("a", 5))
            .recorded("deposited", 1, &event("b", 1))
            .recorded("deposited", 1, &event("a", 7));
        assert_eq!(after.view("a"), Some(Account { account: "a".to_owned(), balance: 7, deposits: 2 }));
        after.then_keys(["a", "b"]);
    }
}
