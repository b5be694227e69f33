//! A version of the plugin takes the place of another while the handler works.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pelton_core::memory::FlakyNetwork;
use tokio::sync::watch;

use crate::account::{Account, Manners, Snapshot};
use crate::bank::{Bank, crash};
use crate::code;

/// The accounts that are alive when the other version comes.
const ACCOUNTS: u32 = 3;

/// Two events each on some accounts; then the other version, and another event each. Returns how many events the other
/// version folded.
async fn folded_after_a_swap(bank: &mut Bank, other: &Manners) -> u32 {
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()));
    let host = bank.host_with(theirs);
    let deposit = |round: u32| {
        for account in 0..ACCOUNTS {
            bank.send(&format!("{round}-{account}"), "deposit", account, i64::from(2 + round));
        }
    };
    deposit(1);
    bank.settled().await;
    deposit(2);
    bank.settled().await;
    versions.send_replace(Account::new(other.clone()));
    // The shards take it up before the next command comes.
    tokio::time::sleep(Duration::from_millis(1)).await;
    deposit(4);
    bank.settled().await;
    for account in 0..ACCOUNTS {
        bank.send(&format!("odd-{account}"), "deposit", account, 1);
        bank.send(&format!("all-{account}"), "withdraw", account, 13);
    }
    bank.settled().await;
    crash(host).await;
    for account in 0..ACCOUNTS {
        assert_eq!(code(&bank.outcome(&format!("odd-{account}"))), "odd", "the other version decides");
        // 3 + 4 + 6: a version that knew less would say that there is too little, and not that it is odd.
        assert_eq!(code(&bank.outcome(&format!("all-{account}"))), "odd");
    }
    other.folded.load(Ordering::Relaxed)
}

fn stricter() -> Manners {
    Manners { stricter: true, ..Manners::default() }
}

#[tokio::test(start_paused = true)]
async fn live_entities_are_handed_on_with_their_states_and_nothing_is_read() {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    assert_eq!(folded_after_a_swap(&mut bank, &stricter()).await, ACCOUNTS, "only what came since");
    assert_eq!(bank.manners.asked.load(Ordering::Relaxed), ACCOUNTS, "each gave its state once");
}

#[tokio::test(start_paused = true)]
async fn where_a_state_cannot_be_handed_on_the_entity_is_loaded_anew() {
    for (name, old, new) in [
        ("another form", Snapshot::Works, Manners { state_version: 1, ..stricter() }),
        ("it gives none", Snapshot::Absent, stricter()),
        ("to give it breaks the sandbox", Snapshot::Breaks, stricter()),
        ("it is refused", Snapshot::Works, Manners { snapshot: Snapshot::IsRefused, ..stricter() }),
        (
            "to take it breaks the sandbox",
            Snapshot::Works,
            Manners { snapshot: Snapshot::RestoreBreaks, ..stricter() },
        ),
    ] {
        let mut bank = Bank::new(FlakyNetwork::reliable());
        bank.manners.snapshot = old;
        assert_eq!(folded_after_a_swap(&mut bank, &new).await, 3 * ACCOUNTS, "{name}");
    }
}

/// A command that the old version has begun is ended by it, and the entity goes on in the new one.
#[tokio::test(start_paused = true)]
async fn what_has_begun_ends_with_the_version_that_began_it() {
    let bank = Bank::new(FlakyNetwork::flaky(7, 2_000, 0));
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()));
    let host = bank.host_with(theirs);
    for n in 0..20 {
        bank.send(&format!("d{n}"), "deposit", 1, 1 + 2 * (n % 2));
        tokio::time::sleep(Duration::from_millis(300)).await;
        if n % 3 == 0 {
            versions.send_replace(Account::new(bank.manners.clone()));
        }
    }
    bank.settled().await;
    crash(host).await;
    assert_eq!(bank.audit(&(0..20).map(|n| format!("d{n}")).collect()), 20);
}
