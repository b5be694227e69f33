//! Snapshots: what is loaded from them is what the events say, whatever became of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pelton_core::command::outcome::Outcome;
use pelton_core::command::reader;
use pelton_core::command::snapshot::{SnapshotKey, SnapshotPolicy};
use pelton_core::id::CommandId;
use pelton_core::memory::FlakyNetwork;

use tracing::Level;

use crate::account::Snapshot;
use crate::bank::{Bank, LIMITS};
use crate::code;
use crate::log::{Log, message};

/// A bank where a snapshot is taken after every third event.
fn bank() -> Bank {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.snapshots.events = 3;
    bank
}

/// Has one host that knows nothing yet handle these deposits of 10 on account 1.
async fn deposit(bank: &Bank, ids: impl IntoIterator<Item = u32>) {
    let host = bank.flow();
    for n in ids {
        bank.send(&format!("d{n}"), "deposit", 1, 10);
        bank.handle_next(&host).await;
    }
}

/// What a host that knows nothing yet makes of a command.
async fn cold(bank: &Bank, id: &str, r#type: &str, account: u32, amount: i64) -> Outcome {
    bank.send(id, r#type, account, amount);
    bank.handle_next(&bank.flow()).await;
    bank.outcome(id)
}

fn taken(count: &AtomicU32) -> u32 {
    count.swap(0, Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_load_folds_what_came_since_the_snapshot() {
    let bank = bank();
    deposit(&bank, 0..8).await;
    taken(&bank.manners.folded);
    assert_eq!(code(&cold(&bank, "too-much", "withdraw", 1, 81).await), "too-little");
    assert_eq!(taken(&bank.manners.folded), 2, "the snapshot is of the sixth event");
    assert_eq!(code(&cold(&bank, "all", "withdraw", 1, 80).await), "accepted");
    assert_eq!(bank.store.events().last().unwrap().1.links.as_ref().unwrap().backlinks.count(), 8);
}

#[tokio::test(start_paused = true)]
async fn every_accepted_command_is_known_from_a_snapshot_when_its_outcome_is_kept_no_longer() {
    let bank = bank();
    let warnings = Log::listen(Level::WARN);
    deposit(&bank, 0..6).await;
    let ids = (0..6).map(|n| format!("d{n}")).collect::<Vec<_>>();
    let first: Vec<_> = ids.iter().map(|id| bank.outcome(id)).collect();
    bank.store.expire_marks();
    taken(&bank.manners.folded);
    for (id, first) in ids.iter().zip(&first) {
        assert_eq!(cold(&bank, id, "deposit", 1, 10).await, *first, "{id}");
    }
    assert_eq!(taken(&bank.manners.folded), 0, "all six events are in the snapshot");
    bank.queue.let_go();
    bank.send("d0", "deposit", 1, 11);
    bank.handle_next(&bank.flow()).await;
    assert_eq!(code(&bank.endings().last().unwrap().outcome), "command-id-reused");
    assert_eq!((bank.store.events().len(), warnings.take()), (6, vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_old_snapshot_is_brought_up_to_date() {
    let bank = bank();
    let warnings = Log::listen(Level::WARN);
    deposit(&bank, 0..3).await;
    let old = bank.store.snapshots();
    deposit(&bank, 3..9).await;
    assert_ne!(bank.store.snapshots(), old);
    bank.store.replace_snapshots(old);
    taken(&bank.manners.folded);
    assert_eq!(code(&cold(&bank, "all", "withdraw", 1, 90).await), "accepted");
    // And the one that it decided.
    assert_eq!((taken(&bank.manners.folded), warnings.take()), (6 + 1, vec![]));
}

/// A bank where account 1 has a snapshot of three events and a fourth since, and account 2 a snapshot too. From now on
/// none is taken because of their number.
async fn bank_with_snapshots() -> Bank {
    let mut bank = bank();
    deposit(&bank, 0..4).await;
    for n in 0..3 {
        cold(&bank, &format!("other{n}"), "deposit", 2, 1).await;
    }
    assert_eq!(bank.store.snapshots().len(), 2);
    bank.snapshots.events = 1000;
    bank
}

/// The snapshots of accounts 1 and 2.
fn keys(bank: &Bank) -> [SnapshotKey; 2] {
    let mut keys: Vec<_> = bank.store.snapshots().into_keys().collect();
    keys.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    keys.try_into().unwrap()
}

/// Makes the snapshot of account 1 useless.
type Spoil = fn(&mut Bank);

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_used_is_ignored_with_one_warning_and_replaced() {
    let warnings = Log::listen(Level::WARN);
    let cases: [(Spoil, &str); 5] = [
        (
            |bank| {
                let [key, _] = keys(bank);
                let mut snapshots = bank.store.snapshots();
                snapshots.entry(key).and_modify(|bytes| bytes.truncate(bytes.len() - 1));
                bank.store.replace_snapshots(snapshots);
            },
            "its fingerprint is another",
        ),
        (
            |bank| {
                let [key, other] = keys(bank);
                let mut snapshots = bank.store.snapshots();
                let others = snapshots[&other].clone();
                snapshots.insert(key, others);
                bank.store.replace_snapshots(snapshots);
            },
            "it is account.v0.account.2, not account.v0.account.1",
        ),
        (|bank| bank.manners.snapshot = Snapshot::IsRefused, "the plugin refuses it: another form"),
        (|bank| bank.manners.snapshot = Snapshot::RestoreBreaks, "restoring it broke: it broke"),
        (|bank| bank.manners.snapshot = Snapshot::Spoils, "cannot be folded on it: it broke"),
    ];
    for (spoil, reason) in cases {
        let mut bank = bank_with_snapshots().await;
        spoil(&mut bank);
        taken(&bank.manners.folded);
        assert_eq!(code(&cold(&bank, "too-much", "withdraw", 1, 41).await), "too-little", "{reason}");
        assert_eq!(taken(&bank.manners.folded), 4, "{reason}");
        let said = warnings.take();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(message(&said[0]).contains(reason), "{said:?}");
        let whose = ["entity", "plugin", "digest"].map(|field| said[0][field].as_str().unwrap());
        assert_eq!(whose, ["account.1", "account", "sha256:native"]);
        bank.manners.snapshot = Snapshot::Works;
        assert_eq!(code(&cold(&bank, "all", "withdraw", 1, 40).await), "accepted", "{reason}");
        assert_eq!((taken(&bank.manners.folded), warnings.take()), (1, vec![]), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_another_state_version_has_snapshots_of_its_own() {
    let mut bank = bank_with_snapshots().await;
    let warnings = Log::listen(Level::WARN);
    let old = bank.store.snapshots();
    (bank.manners.state_version, bank.snapshots.events) = (7, 3);
    taken(&bank.manners.folded);
    assert_eq!(code(&cold(&bank, "all", "withdraw", 1, 40).await), "accepted");
    assert_eq!((taken(&bank.manners.folded), warnings.take()), (4 + 1, vec![]));
    let mut new = bank.store.snapshots();
    new.retain(|key, _| !old.contains_key(key));
    let new: Vec<_> = new.keys().map(SnapshotKey::as_str).collect();
    assert_eq!(new, ["account.v7.account.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_events_that_the_stream_has_no_more_is_noticed() {
    for (since, reason) in [
        (0, "the entity's last message, as it was read, lies before its event 6"),
        (2, "the event at sequence 6 is \"e1:0\", not \"d5:0\""),
        (3, "the event at sequence 6 is \"e1:0\", not \"d5:0\""),
    ] {
        let mut bank = bank();
        deposit(&bank, 0..6).await;
        let snapshots = bank.store.snapshots();
        bank.store.truncate(4);
        bank.store.expire_marks();
        bank.snapshots.events = 1000;
        for n in 0..since {
            bank.store.replace_snapshots(HashMap::new());
            assert_eq!(code(&cold(&bank, &format!("e{n}"), "deposit", 1, 10).await), "accepted");
        }
        bank.store.replace_snapshots(snapshots);
        let warnings = Log::listen(Level::WARN);
        let balance = 10 * (4 + since);
        assert_eq!(code(&cold(&bank, "too-much", "withdraw", 1, balance + 1).await), "too-little");
        let said = warnings.take();
        assert!(said.len() == 1 && message(&said[0]).contains(reason), "{said:?}");
        assert_eq!(code(&cold(&bank, "all", "withdraw", 1, balance).await), "accepted");
        assert_eq!(
            code(&cold(&bank, "d5", "deposit", 1, 10).await),
            "accepted",
            "it was lost with its event"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_load_is_followed_by_a_snapshot() {
    for (load_events, kept) in [(3, 1), (4, 0)] {
        for (latency_ms, kept) in [(0, 0), (20, kept)] {
            let mut bank = Bank::new(FlakyNetwork::flaky(1, latency_ms, 0));
            bank.snapshots =
                SnapshotPolicy { events: 1000, load_time: Duration::from_millis(1), load_events };
            deposit(&bank, 0..3).await;
            assert_eq!(bank.store.snapshots().len(), 0);
            cold(&bank, "too-much", "withdraw", 1, 31).await;
            assert_eq!(bank.store.snapshots().len(), kept, "{load_events} events, {latency_ms} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_gives_none_is_not_asked_after_every_command() {
    let mut bank = bank();
    bank.manners.snapshot = Snapshot::Absent;
    deposit(&bank, 0..9).await;
    assert_eq!((taken(&bank.manners.asked), bank.store.snapshots().len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_entity_whose_snapshot_breaks_its_sandbox_goes_on_without() {
    let mut bank = bank();
    bank.manners.snapshot = Snapshot::Breaks;
    let warnings = Log::listen(Level::WARN);
    deposit(&bank, 0..9).await;
    assert_eq!((taken(&bank.manners.asked), bank.store.snapshots().len()), (1, 0));
    // All were folded when they were stored; the first three once more, after the sandbox was dropped.
    assert_eq!((taken(&bank.manners.folded), bank.store.events().len()), (9 + 3, 9));
    let said = warnings.take();
    assert!(said.len() == 1 && message(&said[0]).contains("it broke"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_snapshot_and_a_host_that_stops_finishes_it() {
    let mut bank = bank();
    bank.manners.snapshot_time = Duration::from_secs(3600);
    let consumer = bank.queue.consumer();
    let (stop, intake, flow) = (consumer.stopper(), bank.intake.clone(), bank.flow());
    let host = tokio::spawn(async move {
        reader::run(consumer, intake, vec![flow], crate::bank::no_versions(), LIMITS).await;
    });
    for n in 0..3 {
        bank.send(&format!("d{n}"), "deposit", 1, 10);
    }
    bank.settled().await;
    bank.send("other", "deposit", 2, 1);
    bank.settled().await;
    assert_eq!((taken(&bank.manners.asked), bank.store.snapshots().len()), (1, 0), "it is being taken");
    stop();
    host.await.unwrap();
    assert_eq!(bank.store.snapshots().len(), 1);
    assert!(bank.outcomes().contains_key(&CommandId::new("other").unwrap()));
}
