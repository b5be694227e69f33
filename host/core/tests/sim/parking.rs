//! Commands that wait behind one of their entity that failed.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pelton_core::command::outcome::Answer;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::dead_letter::{
    DeadLetter, DeadLetterKind, DeadLetters, OnFailure, Parking, Place, RETRY_OF, RETRY_SUFFIX, Retries,
    RetryRequest,
};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use crate::bank::{Bank, crash};
use crate::{code, each_seed};

fn bank() -> Bank {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.on_failure = OnFailure::Park;
    bank
}

/// A bank where the command `failed` on account 1 is a dead letter.
async fn with_a_failure() -> Bank {
    let bank = bank();
    bank.manners.breaks.store(4, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    assert_eq!(code(&bank.outcome("failed")), "failed");
    bank
}

/// Position, kind and command of every letter.
fn dead_letters(bank: &Bank) -> Vec<(u64, DeadLetterKind, String)> {
    let command =
        |dead_letter: &DeadLetter| dead_letter.message.subject.rsplit('.').next().unwrap().to_owned();
    bank.dead_letters
        .all()
        .iter()
        .map(|(at, dead_letter)| (at.0, dead_letter.kind, command(dead_letter)))
        .collect()
}

fn dead_letter(at: u64, kind: DeadLetterKind, command: &str) -> (u64, DeadLetterKind, String) {
    (at, kind, command.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_failure_is_parked_in_order_and_other_entities_go_on() {
    use DeadLetterKind::{Failed, Parked};
    let bank = with_a_failure().await;
    bank.send("second", "deposit", 1, 2);
    bank.send("elsewhere", "deposit", 2, 5);
    bank.send("third", "withdraw", 1, 2);
    bank.settle().await;
    let expected =
        [dead_letter(1, Failed, "failed"), dead_letter(2, Parked, "second"), dead_letter(3, Parked, "third")];
    assert_eq!(dead_letters(&bank), expected);
    assert_eq!(code(&bank.outcome("elsewhere")), "accepted");
    assert_eq!(bank.outcomes().len(), 2, "nothing is recorded of what has not ended");
    let told = bank.store.replies().into_iter().filter_map(|(_, answer)| match answer {
        Answer::Parked(parked) => Some((parked.command_id.to_string(), parked.cause)),
        Answer::Ended(_) | Answer::Unreadable(_) => None,
    });
    let behind = |n: u64| format!("it waits behind dead letter {n} of its entity");
    assert_eq!(told.collect::<Vec<_>>(), [("second".to_owned(), behind(1)), ("third".to_owned(), behind(2))]);
    let terminated =
        bank.queue.settlements().iter().filter(|(_, s)| matches!(s, Settlement::Terminate(_))).count();
    assert_eq!(terminated, 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_ahead_of_a_failure() {
    let bank = with_a_failure().await;
    let host = bank.flow();
    bank.send("second", "deposit", 1, 2);
    bank.handle_next(&host).await; // now it has the account alive
    bank.send("third", "deposit", 1, 3);
    bank.send("fourth", "deposit", 1, 4);
    let mut consumer = bank.queue.consumer();
    let deliveries = [consumer.next().await.unwrap(), consumer.next().await.unwrap()];
    let commands = deliveries.each_ref().map(|delivery| bank.decode(delivery.message()));
    assert_eq!(host.handle_ahead(&commands.each_ref()).await, 0);
    assert_eq!((bank.store.events().len(), bank.outcomes().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_is_not_parked_twice_and_what_has_ended_stays_ended() {
    let bank = bank();
    bank.send("early", "deposit", 1, 7);
    bank.manners.breaks.store(0, Ordering::Relaxed);
    bank.settle().await;
    bank.manners.breaks.store(4, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    for _ in 0..3 {
        bank.send("second", "deposit", 1, 2);
        bank.send("failed", "deposit", 1, 1);
        bank.send("early", "deposit", 1, 7);
        bank.settle().await;
    }
    assert_eq!(dead_letters(&bank).len(), 2);
    let codes: Vec<_> =
        bank.endings().iter().map(|r| format!("{}={}", r.command_id, code(&r.outcome))).collect();
    assert_eq!(codes[2..], ["failed=failed", "early=accepted"].repeat(3));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_skips_goes_on_with_the_entity() {
    let mut bank = bank();
    bank.on_failure = OnFailure::Skip;
    bank.manners.breaks.store(4, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    bank.send("second", "deposit", 1, 2);
    bank.settle().await;
    assert_eq!((dead_letters(&bank).len(), code(&bank.outcome("second"))), (1, "accepted"));
}

/// Dead letters that something happens to.
struct Meddled {
    dead_letters: MemoryDeadLetters,
    /// This one is removed between the look and the parking.
    removed_meanwhile: Mutex<Option<Sequence>>,
    /// The host ends when it has kept one.
    ends_after_keeping: bool,
}

impl Meddled {
    fn with(dead_letters: &MemoryDeadLetters) -> Self {
        Self {
            dead_letters: dead_letters.clone(),
            removed_meanwhile: Mutex::default(),
            ends_after_keeping: false,
        }
    }
}

impl DeadLetters for Meddled {
    async fn keep(&self, dead_letter: DeadLetter) -> Result<Sequence, Unavailable> {
        let at = self.dead_letters.keep(dead_letter).await?;
        if self.ends_after_keeping {
            let (doing, cause) = ("keeping a dead letter".to_owned(), "the host has ended".to_owned());
            return Err(Unavailable { doing, cause });
        }
        Ok(at)
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        self.dead_letters.last(consumer, key).await
    }

    async fn is_retry(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
        on_failure: OnFailure,
    ) -> Result<bool, Unavailable> {
        self.dead_letters.is_retry(consumer, key, message, on_failure).await
    }

    async fn keep_behind(&self, dead_letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        if let Some(sequence) = self.removed_meanwhile.lock().unwrap().take() {
            self.dead_letters.remove(sequence);
        }
        self.dead_letters.keep_behind(dead_letter, last).await
    }
}

impl Retries for Meddled {
    async fn request(&self, consumer: &Name) -> Result<Option<RetryRequest>, Unavailable> {
        self.dead_letters.request(consumer).await
    }

    async fn places(&self, consumer: &Name, key: Option<&str>) -> Result<Vec<Place>, Unavailable> {
        self.dead_letters.places(consumer, key).await
    }

    async fn dead_letter(&self, at: Sequence) -> Result<Option<DeadLetter>, Unavailable> {
        self.dead_letters.dead_letter(at).await
    }

    async fn settle(&self, at: Sequence) -> Result<(), Unavailable> {
        self.dead_letters.settle(at).await
    }

    async fn note_failure(&self, at: Sequence, cause: &str) -> Result<(), Unavailable> {
        self.dead_letters.note_failure(at, cause).await
    }

    async fn close(&self, request: &RetryRequest) -> Result<(), Unavailable> {
        self.dead_letters.close(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_not_parked_behind_a_letter_that_has_just_gone() {
    let bank = with_a_failure().await;
    let host = bank.flow_with(Meddled {
        removed_meanwhile: Mutex::new(Some(Sequence(1))),
        ..Meddled::with(&bank.dead_letters)
    });
    bank.send("second", "deposit", 1, 2);
    bank.handle_next(&host).await;
    assert_eq!((dead_letters(&bank), code(&bank.outcome("second"))), (Vec::new(), "accepted"));
}

/// It was once parked behind its own letter, and nobody was told how it had ended.
#[tokio::test(start_paused = true)]
async fn a_command_whose_host_ended_between_its_letter_and_its_mark_ends_and_waits_for_nothing() {
    for (breaks_again, end, left) in [(0, "accepted", 1), (4, "failed", 1)] {
        let bank = bank();
        bank.manners.breaks.store(4, Ordering::Relaxed);
        bank.send("failed", "deposit", 1, 1);
        let ending =
            bank.flow_with(Meddled { ends_after_keeping: true, ..Meddled::with(&bank.dead_letters) });
        for _ in 0..3 {
            bank.handle_next(&ending).await;
        }
        assert_eq!(bank.outcomes().len(), 0, "it has not ended yet");
        bank.manners.breaks.store(breaks_again, Ordering::Relaxed);
        bank.settle().await;
        assert_eq!((dead_letters(&bank).len(), code(&bank.outcome("failed"))), (left, end));
        let ends: Vec<_> = bank.endings().iter().map(|record| record.outcome.clone()).collect();
        assert_eq!(ends, [bank.outcome("failed")], "who waits is told");
        let host = bank.host();
        assert_eq!((retry(&bank, 1).await, dead_letters(&bank)), (1, Vec::new()));
        crash(host).await;
        assert_eq!((code(&bank.outcome("failed")), bank.store.events().len()), ("accepted", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_retry_of_another_command_waits_like_everybody() {
    let bank = with_a_failure().await;
    bank.send_with("forged", "deposit", 1, 2, &[(RETRY_OF, "1")]);
    bank.settle().await;
    let expected =
        [dead_letter(1, DeadLetterKind::Failed, "failed"), dead_letter(2, DeadLetterKind::Parked, "forged")];
    assert_eq!(dead_letters(&bank), expected);
}

/// What an operator does: the letters of the account one after the other, until one fails again. Answers how many went.
async fn retry(bank: &Bank, account: u32) -> usize {
    let mut settled = 0;
    let key = format!("account.{account}");
    let first = || {
        bank.dead_letters.all().into_iter().find(|(_, dead_letter)| dead_letter.key.as_ref() == Some(&key))
    };
    while let Some((at, dead_letter)) = first() {
        let DeadLetter { message, .. } = dead_letter;
        let id = CommandId::new(message.subject.rsplit('.').next().unwrap()).unwrap();
        let mut headers = message.headers.clone();
        headers.push(RETRY_OF, at.to_string());
        bank.queue.publish(format!("{}{RETRY_SUFFIX}", message.subject), headers, message.payload.clone());
        bank.settled().await;
        if code(&bank.outcome(id.as_str())) == "failed" {
            break;
        }
        bank.dead_letters.remove(at);
        settled += 1;
    }
    settled
}

#[tokio::test(start_paused = true)]
async fn a_retry_replays_the_queue_in_order_and_then_lets_through() {
    let bank = with_a_failure().await;
    bank.send("second", "withdraw", 1, 1);
    bank.send("third", "withdraw", 1, 1);
    bank.settle().await;
    let host = bank.host();
    assert_eq!(retry(&bank, 1).await, 3);
    bank.settled().await;
    crash(host).await;
    let codes = ["failed", "second", "third"].map(|id| code(&bank.outcome(id)).to_owned());
    assert_eq!(codes, ["accepted", "accepted", "too-little"], "each on the events of the one before");
    bank.send("fourth", "deposit", 1, 1);
    bank.settle().await;
    assert_eq!((dead_letters(&bank), code(&bank.outcome("fourth"))), (Vec::new(), "accepted"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_fails_keeps_its_place_and_the_others_wait_on() {
    let bank = with_a_failure().await;
    bank.send("second", "deposit", 1, 1);
    bank.settle().await;
    let before = dead_letters(&bank);
    bank.manners.breaks.store(4, Ordering::Relaxed);
    let host = bank.host();
    assert_eq!(retry(&bank, 1).await, 0);
    bank.settled().await;
    assert_eq!((dead_letters(&bank), code(&bank.outcome("failed"))), (before, "failed"));
    assert_eq!(retry(&bank, 1).await, 2);
    crash(host).await;
}

/// A storm in which sandboxes break, what comes behind is parked, and an operator retries all the time.
async fn storm(seed: u64) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bank = Bank::new(FlakyNetwork::flaky(rng.u64(..), 30, rng.u32(0..80)));
    bank.on_failure = OnFailure::Park;
    bank.max_attempts = 1;
    let hosts = [bank.host(), bank.host()];
    let mut sent = HashSet::new();
    for n in 0..40 {
        let id = format!("c{n}");
        bank.send(&id, rng.choice(&["deposit", "withdraw", "split"]).unwrap(), rng.u32(0..3), rng.i64(1..20));
        sent.insert(id);
        if rng.u32(0..6) == 0 {
            bank.manners.breaks.store(rng.u32(3..8), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
    }
    let calm = async {
        let mut settled = 0;
        while bank.queue.unsettled() > 0 || !bank.dead_letters.all().is_empty() {
            for account in 0..3 {
                settled += retry(&bank, account).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        settled
    };
    let settled =
        tokio::time::timeout(Duration::from_secs(3600), calm).await.expect("nothing waits for ever");
    for host in hosts {
        crash(host).await;
    }
    bank.audit(&sent);
    let failed = bank.outcomes().values().filter(|outcome| code(outcome) == "failed").count();
    assert_eq!(failed, 0, "every failure was retried until it ended otherwise");
    settled
}

#[test]
fn storms_with_failures_and_an_operator_leave_nothing_waiting() {
    let mut settled = 0;
    each_seed(0..100, storm).for_each(|more| settled += more);
    assert!(settled > 50, "the storms must park something: {settled}");
}

/// A copy under the subject of a retry is logged after the first had ended: an entity that was loaded in between knows
/// nothing of the first one's mark.
#[tokio::test(start_paused = true)]
async fn a_forged_copy_under_the_subject_of_a_retry_gets_the_first_outcome() {
    let bank = bank();
    bank.send("w", "withdraw", 1, 5);
    bank.settle().await;
    let host = bank.flow();
    bank.send("d", "deposit", 1, 5);
    bank.handle_next(&host).await; // now it has the account alive
    bank.send_at(("w", "withdraw", 1, 5), RETRY_SUFFIX, &[]);
    bank.handle_next(&host).await;
    assert_eq!(code(&bank.endings().last().unwrap().outcome), "too-little");
    assert_eq!(bank.store.events().len(), 1);
}
