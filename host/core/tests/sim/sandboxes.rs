//! Sandboxes that entities share, and commands that are tried again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pelton_core::command::reader;
use pelton_core::consumer::Settlement;
use pelton_core::memory::FlakyNetwork;

use crate::account::Snapshot;
use crate::bank::{Bank, LIMITS, no_versions};
use crate::code;

/// R8, R24: what another entity did to a sandbox, or all of them together, once made a dead letter of an innocent's
/// command.
#[tokio::test(start_paused = true)]
async fn what_breaks_in_a_shared_sandbox_is_no_attempt_and_costs_its_neighbours_one_load() {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.max_attempts = 1;
    let host = bank.flow();
    for (id, account) in [("a1", 1), ("b1", 2), ("b2", 2)] {
        bank.send(id, "deposit", account, 5);
        bank.handle_next(&host).await;
    }
    assert_eq!(bank.manners.folded.load(Ordering::Relaxed), 3, "each event once");
    bank.manners.breaks.store(1, Ordering::Relaxed);
    for (id, account) in [("a2", 1), ("b3", 2), ("a3", 1), ("b4", 2)] {
        bank.send(id, "withdraw", account, 1);
        bank.handle_next(&host).await;
        assert_eq!(code(&bank.outcome(id)), "accepted");
    }
    assert!(bank.queue.settlements().iter().all(|(_, settlement)| *settlement == Settlement::Ack));
    assert_eq!(bank.manners.folded.load(Ordering::Relaxed), 3 + 4 + 1 + 2, "both were loaded once more");
    // It was alone in its sandbox, so the neighbour lives.
    bank.manners.breaks.store(1, Ordering::Relaxed);
    bank.send("a4", "withdraw", 1, 1);
    bank.handle_next(&host).await;
    assert_eq!(code(&bank.outcome("a4")), "failed");
    bank.send("b5", "withdraw", 2, 1);
    bank.handle_next(&host).await;
    assert_eq!(
        bank.manners.folded.load(Ordering::Relaxed),
        10 + 3 + 1,
        "only the one that broke is loaded again"
    );
}

/// R24: a lack of room was the plugin's fault, and made dead letters of good commands.
#[tokio::test(start_paused = true)]
async fn a_lack_of_room_makes_commands_wait_and_uses_up_no_attempt() {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.max_attempts = 1;
    bank.manners.no_room.store(20, Ordering::Relaxed);
    bank.send("a", "deposit", 1, 5);
    bank.send("b", "withdraw", 1, 5);
    bank.settle().await;
    assert_eq!(["a", "b"].map(|id| code(&bank.outcome(id)).to_owned()), ["accepted"; 2]);
    assert_eq!(bank.manners.no_room.load(Ordering::Relaxed), 0);
    assert!(bank.dead_letters.all().is_empty());
}

/// R13: a command that was handed back to be tried again was overtaken by those behind it.
#[tokio::test(start_paused = true)]
async fn a_command_that_is_tried_again_keeps_its_place() {
    let bank = Bank::new(FlakyNetwork::reliable());
    // Ahead, in the shared sandbox, and once alone.
    bank.manners.breaks.store(3, Ordering::Relaxed);
    bank.send("d", "deposit", 1, 5);
    for n in 0..3 {
        bank.send(&format!("w{n}"), "withdraw", 1, 1);
    }
    bank.settle().await;
    let codes = ["d", "w0", "w1", "w2"].map(|id| code(&bank.outcome(id)).to_owned());
    assert_eq!(codes, ["accepted"; 4]);
    assert!(bank.queue.settlements().iter().all(|(_, settlement)| *settlement == Settlement::Ack));
}

#[tokio::test(start_paused = true)]
async fn who_stops_hands_back_what_is_to_be_tried_again_and_all_that_is_behind_it() {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.max_attempts = 100;
    bank.manners.breaks.store(u32::MAX, Ordering::Relaxed);
    for n in 0..3 {
        bank.send(&format!("d{n}"), "deposit", 1, 5);
    }
    let (consumer, intake, shards) = (bank.queue.consumer(), bank.intake.clone(), vec![bank.flow()]);
    let stop = consumer.stopper();
    let host =
        tokio::spawn(async move { reader::run(consumer, intake, shards, no_versions(), LIMITS).await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    stop();
    host.await.unwrap();
    let settled = bank.queue.settlements();
    let handed_back = |(_, settlement): &&(_, _)| matches!(settlement, Settlement::RetryAfter(_));
    assert_eq!((settled.len(), settled.iter().filter(handed_back).count()), (3, 3), "{settled:?}");
    assert_eq!(bank.queue.unsettled(), 3);
}

/// A sandbox that is worn out is no fault of anybody: the entity goes on in another, with its state where the plugin gives
/// it, or else loaded anew.
#[tokio::test(start_paused = true)]
async fn entities_leave_a_sandbox_that_is_worn_out_and_nobody_notices() {
    for (snapshot, folded) in [
        // Nine events, each folded once: every move hands the state on.
        (Snapshot::Works, 9),
        // The moves load what was before. To load is a fold, too, so they come after 3, 5 and 7 events.
        (Snapshot::Absent, 9 + 3 + 5 + 7),
        (Snapshot::Breaks, 9 + 3 + 5 + 7),
        (Snapshot::IsRefused, 9 + 3 + 5 + 7),
    ] {
        let mut bank = Bank::new(FlakyNetwork::reliable());
        bank.max_attempts = 1;
        bank.manners.snapshot = snapshot;
        bank.manners.wears_out_after = 3;
        let host = bank.flow();
        for n in 1..=9 {
            let id = format!("d{n}");
            bank.send(&id, "deposit", 1, 1);
            bank.handle_next(&host).await;
            assert_eq!(code(&bank.outcome(&id)), "accepted");
        }
        assert_eq!(bank.manners.folded.load(Ordering::Relaxed), folded);
        bank.send("all", "withdraw", 1, 9);
        bank.handle_next(&host).await;
        assert_eq!(code(&bank.outcome("all")), "accepted", "no event was lost");
        assert!(bank.queue.settlements().iter().all(|(_, settlement)| *settlement == Settlement::Ack));
        assert!(bank.dead_letters.all().is_empty());
    }
}
