//! A version of the plugin takes the place of another while the handler works.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pelton_core::command::MAX_BEFORE;
use pelton_core::command::outcome::Outcome;
use pelton_core::command::snapshot::SnapshotPolicy;
use pelton_core::command::trial::HandlerVersion;
use pelton_core::memory::FlakyNetwork;
use pelton_core::retry::UNSERVED_PATIENCE;
use pelton_core::trial::Trial;
use tokio::sync::watch;

use crate::account::{Account, Manners, Snapshot};
use crate::bank::{Bank, crash};
use crate::code;

/// The accounts that are alive when the other version comes.
const ACCOUNTS: u32 = 3;

/// Two events each on some accounts; then the other version, and another event each. Returns how many events the other
/// version folded.
async fn folded_after_a_swap(bank: &mut Bank, other: &Manners) -> u32 {
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
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
    versions.send_replace(Account::new(other.clone()).into());
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

/// An entity with many events and without snapshots is loaded while the version before goes on deciding.
#[tokio::test(start_paused = true)]
async fn a_long_entity_stays_with_the_version_before_until_it_is_loaded() {
    for events in [5, 6] {
        let mut bank = Bank::new(FlakyNetwork::flaky(1, 40, 0));
        bank.manners.snapshot = Snapshot::Absent;
        bank.load_beside_from = 5;
        let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
        let host = bank.host_with(theirs);
        for n in 0..events {
            bank.send(&format!("d{n}"), "deposit", 1, 2);
            bank.settled().await;
        }
        let manners = Manners { stricter: true, ..bank.manners.clone() };
        versions.send_replace(Account::new(manners).into());
        tokio::time::sleep(Duration::from_millis(1)).await;
        bank.send("first", "deposit", 1, 1);
        bank.settled().await;
        let decided_by_new = code(&bank.outcome("first")) == "odd";
        assert_eq!(decided_by_new, events == 5, "{events} events");
        tokio::time::sleep(Duration::from_secs(1)).await;
        bank.send("second", "deposit", 1, 1);
        bank.settled().await;
        assert_eq!(code(&bank.outcome("second")), "odd", "it has been loaded");
        // What the version before decided meanwhile is known.
        bank.send("all", "withdraw", 1, 2 * i64::from(events));
        bank.settled().await;
        assert_eq!(code(&bank.outcome("all")), "accepted");
        crash(host).await;
    }
}

/// An entity that is idle over so many switches. Returns how many events were folded at its next command.
async fn folded_after_idle_switches(switches: usize) -> u32 {
    let bank = Bank::new(FlakyNetwork::reliable());
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
    let host = bank.host_with(theirs);
    for n in 0..5 {
        bank.send(&format!("d{n}"), "deposit", 1, 2);
        bank.settled().await;
    }
    let folded = &bank.manners.folded;
    let before = folded.load(Ordering::Relaxed);
    for _ in 0..switches {
        versions.send_replace(Account::new(bank.manners.clone()).into());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bank.send("last", "withdraw", 1, 10);
    bank.settled().await;
    crash(host).await;
    assert!(matches!(bank.outcome("last"), Outcome::Accepted { .. }));
    folded.load(Ordering::Relaxed) - before
}

/// Each version that came and went kept its sandboxes for as long as one of its entities was idle.
#[tokio::test(start_paused = true)]
async fn an_entity_is_handed_on_over_some_switches_and_loaded_after_many() {
    assert_eq!(folded_after_idle_switches(MAX_BEFORE).await, 1, "only its own event");
    assert_eq!(folded_after_idle_switches(MAX_BEFORE + 1).await, 6, "all events anew");
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
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
    let host = bank.host_with(theirs);
    for n in 0..20 {
        bank.send(&format!("d{n}"), "deposit", 1, 1 + 2 * (n % 2));
        tokio::time::sleep(Duration::from_millis(300)).await;
        if n % 3 == 0 {
            versions.send_replace(Account::new(bank.manners.clone()).into());
        }
    }
    bank.settled().await;
    crash(host).await;
    assert_eq!(bank.audit(&(0..20).map(|n| format!("d{n}")).collect()), 20);
}

/// Commands before a version comes on trial and after; the version breaks at so many decisions, and the one before at so
/// many from then on. Returns how many commands were accepted, and whether the version is lost.
async fn tried(breaks: u32, before_breaks: u32) -> (usize, bool) {
    let bank = Bank::new(FlakyNetwork::reliable());
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
    let host = bank.host_with(theirs);
    bank.send("before", "deposit", 1, 2);
    bank.settled().await;
    let trial = Arc::new(Trial::default());
    let candidate = Manners { breaks: Arc::new(AtomicU32::new(breaks)), ..bank.manners.clone() };
    versions.send_replace(HandlerVersion {
        trial: Some(trial.clone()),
        ..HandlerVersion::from(Account::new(candidate))
    });
    bank.manners.breaks.store(before_breaks, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let sent: std::collections::HashSet<_> = (0..5).map(|n| format!("c{n}")).collect();
    for id in &sent {
        bank.send(id, "deposit", 1, 2);
        bank.settled().await;
    }
    let lost = tokio::time::timeout(Duration::from_secs(10), trial.lost()).await.is_ok();
    crash(host).await;
    let all = sent.into_iter().chain(["before".to_owned()]).collect();
    (bank.audit(&all), lost)
}

#[tokio::test(start_paused = true)]
async fn what_a_version_on_trial_breaks_the_one_before_decides_and_nobody_sees_a_failure() {
    assert_eq!(tried(u32::MAX, 0).await, (6, true));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_breaks_nothing_or_no_more_than_the_one_before_is_not_lost() {
    assert_eq!(tried(0, 0).await, (6, false), "nothing breaks");
    let (accepted, lost) = tried(u32::MAX, u32::MAX).await;
    assert_eq!((accepted, lost), (1, false), "both break, so it is the commands' fault");
}

/// Commands of a type that was added to the configuration before there is a version that takes it. That one comes after this
/// time. Returns the commands that had ended by then, and the bank afterwards.
async fn with_a_type_of_a_later_version(comes_after: Duration) -> (BTreeSet<String>, Bank) {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.manners.lacks = Some("withdraw");
    let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
    let host = bank.host_with(theirs);
    // Enough at a time that they would be decided ahead.
    for n in 0..10 {
        bank.send(&format!("d{n}"), "deposit", 1, 2);
        bank.send(&format!("w{n}"), "withdraw", 1, 2);
    }
    bank.send("other", "deposit", 2, 2);
    tokio::time::sleep(comes_after).await;
    let ended = bank.outcomes().into_keys().map(|id| id.to_string()).collect();
    versions.send_replace(Account::new(Manners { lacks: None, ..bank.manners.clone() }).into());
    tokio::time::sleep(Duration::from_millis(100)).await;
    crash(host).await;
    (ended, bank)
}

#[tokio::test(start_paused = true)]
async fn a_command_that_this_version_does_not_take_waits_for_one_that_does() {
    let (ended, bank) = with_a_type_of_a_later_version(UNSERVED_PATIENCE / 2).await;
    assert_eq!(ended, BTreeSet::from(["d0", "other"].map(str::to_owned)), "the entity waits, in order");
    let all = bank.outcomes().into_keys().map(|id| id.to_string()).collect();
    assert_eq!(bank.audit(&all), 21, "they are tried again as soon as it is there, and none has failed");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_no_version_comes_for_does_not_keep_others_forever() {
    let (_, bank) = with_a_type_of_a_later_version(UNSERVED_PATIENCE * 4).await;
    let Outcome::Failed { cause } = bank.outcome("w0") else { panic!("it is a dead letter") };
    assert!(cause.contains("does not take commands of type \"withdraw\""), "{cause}");
}

/// A version that was taken back may have folded wrongly: neither its live entities nor its snapshots are used.
#[tokio::test(start_paused = true)]
async fn what_a_withdrawn_version_made_of_events_is_not_used() {
    for snapshots in [false, true] {
        let mut bank = Bank::new(FlakyNetwork::reliable());
        if snapshots {
            bank.snapshots = SnapshotPolicy { events: 1, ..SnapshotPolicy::default() };
        }
        let (versions, theirs) = watch::channel(Account::new(bank.manners.clone()).into());
        let host = bank.host_with(theirs);
        bank.send("by-the-first", "deposit", 1, 2);
        bank.settled().await;
        versions.send_replace(Account::new(stricter()).into());
        tokio::time::sleep(Duration::from_millis(1)).await;
        bank.send("by-the-second", "deposit", 1, 4);
        bank.settled().await;
        let again = Manners { folded: Arc::default(), ..bank.manners.clone() };
        let withdrawn = Arc::new(BTreeSet::from(["sha256:stricter".to_owned()]));
        versions
            .send_replace(HandlerVersion { withdrawn, ..HandlerVersion::from(Account::new(again.clone())) });
        tokio::time::sleep(Duration::from_millis(1)).await;
        bank.send("by-the-first-again", "deposit", 1, 1);
        bank.settled().await;
        crash(host).await;
        assert_eq!(again.folded.load(Ordering::Relaxed), 3, "all events anew, with snapshots: {snapshots}");
    }
}
