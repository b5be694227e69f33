//! Commands that wait behind one of their entity that failed.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pelton_core::command::outcome::{Answer, Claim, Entry, Registered};
use pelton_core::command::ports::CommandStore;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::dead_letter::{DeadLetter, DeadLetterKind, DeadLetters, OnFailure, Parking, RETRY_OF};
use pelton_core::id::{CommandId, Name, Sequence};
use pelton_core::memory::{FlakyNetwork, MemoryDeadLetters};
use pelton_core::message::Incoming;
use pelton_core::store::Unavailable;

use tokio::task::JoinHandle;

use crate::bank::Bank;
use crate::{code, each_seed};

fn bank() -> Bank {
    let mut bank = Bank::new(FlakyNetwork::reliable());
    bank.on_failure = OnFailure::Park;
    bank
}

/// A bank where the command `failed` on account 1 is a dead letter.
async fn with_a_failure() -> Bank {
    let bank = bank();
    bank.manners.breaks.store(3, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    assert_eq!(code(&bank.outcome("failed")), "failed");
    bank
}

/// Position, kind and command of every letter.
fn letters(bank: &Bank) -> Vec<(u64, DeadLetterKind, String)> {
    let command = |letter: &DeadLetter| letter.message.subject.rsplit('.').next().unwrap().to_owned();
    bank.letters.all().iter().map(|(at, letter)| (at.0, letter.kind, command(letter))).collect()
}

fn letter(at: u64, kind: DeadLetterKind, command: &str) -> (u64, DeadLetterKind, String) {
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
    let expected = [letter(1, Failed, "failed"), letter(2, Parked, "second"), letter(3, Parked, "third")];
    assert_eq!(letters(&bank), expected);
    assert_eq!(code(&bank.outcome("elsewhere")), "accepted");
    assert_eq!(bank.store.outcomes().len(), 2, "nothing is recorded of what has not ended");
    let told = bank.store.announced().into_iter().filter_map(|(_, answer)| match answer {
        Answer::Parked(parked) => Some((parked.command_id.to_string(), parked.cause)),
        Answer::Ended(_) => None,
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
    let mut inbox = bank.queue.inbox();
    let deliveries = [inbox.next().await.unwrap(), inbox.next().await.unwrap()];
    let commands = deliveries.each_ref().map(|delivery| bank.decode(delivery.message()));
    assert_eq!(host.handle_ahead(&commands.each_ref()).await, 0);
    assert_eq!((bank.store.events().len(), bank.store.outcomes().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_is_not_parked_twice_and_what_has_ended_stays_ended() {
    let bank = bank();
    bank.send("early", "deposit", 1, 7);
    bank.manners.breaks.store(0, Ordering::Relaxed);
    bank.settle().await;
    bank.manners.breaks.store(3, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    for _ in 0..3 {
        bank.send("second", "deposit", 1, 2);
        bank.send("failed", "deposit", 1, 1);
        bank.send("early", "deposit", 1, 7);
        bank.settle().await;
    }
    assert_eq!(letters(&bank).len(), 2);
    let codes: Vec<_> =
        bank.endings().iter().map(|r| format!("{}={}", r.command_id, code(&r.outcome))).collect();
    assert_eq!(codes[2..], ["failed=failed", "early=accepted"].repeat(3));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_skips_goes_on_with_the_entity() {
    let mut bank = bank();
    bank.on_failure = OnFailure::Skip;
    bank.manners.breaks.store(3, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    bank.settle().await;
    bank.send("second", "deposit", 1, 2);
    bank.settle().await;
    assert_eq!((letters(&bank).len(), code(&bank.outcome("second"))), (1, "accepted"));
}

/// Dead letters that something happens to.
struct Meddled {
    letters: MemoryDeadLetters,
    /// This one is removed between the look and the parking.
    removed_meanwhile: Mutex<Option<Sequence>>,
    /// The host ends when it has kept one.
    ends_after_keeping: bool,
}

impl Meddled {
    fn with(letters: &MemoryDeadLetters) -> Self {
        Self { letters: letters.clone(), removed_meanwhile: Mutex::default(), ends_after_keeping: false }
    }
}

impl DeadLetters for Meddled {
    async fn keep(&self, letter: DeadLetter) -> Result<(), Unavailable> {
        self.letters.keep(letter).await?;
        if self.ends_after_keeping {
            let (doing, cause) = ("keeping a dead letter".to_owned(), "the host has ended".to_owned());
            return Err(Unavailable { doing, cause });
        }
        Ok(())
    }

    async fn last(&self, consumer: &Name, key: &str) -> Result<Option<Sequence>, Unavailable> {
        self.letters.last(consumer, key).await
    }

    async fn is_retry_of_first(
        &self,
        consumer: &Name,
        key: &str,
        message: &Incoming,
    ) -> Result<bool, Unavailable> {
        self.letters.is_retry_of_first(consumer, key, message).await
    }

    async fn keep_behind(&self, letter: DeadLetter, last: Sequence) -> Result<Parking, Unavailable> {
        if let Some(sequence) = self.removed_meanwhile.lock().unwrap().take() {
            self.letters.remove(sequence);
        }
        self.letters.keep_behind(letter, last).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_not_parked_behind_a_letter_that_has_just_gone() {
    let bank = with_a_failure().await;
    let host = bank.flow_with(Meddled {
        removed_meanwhile: Mutex::new(Some(Sequence(1))),
        ..Meddled::with(&bank.letters)
    });
    bank.send("second", "deposit", 1, 2);
    bank.handle_next(&host).await;
    assert_eq!((letters(&bank), code(&bank.outcome("second"))), (Vec::new(), "accepted"));
}

/// It was once parked behind its own letter, and nobody was told that it had failed.
#[tokio::test(start_paused = true)]
async fn a_command_whose_host_ended_after_keeping_its_letter_has_failed_and_waits_for_nothing() {
    use DeadLetterKind::{Failed, Parked};
    let bank = bank();
    bank.manners.breaks.store(3, Ordering::Relaxed);
    bank.send("failed", "deposit", 1, 1);
    let ending = bank.flow_with(Meddled { ends_after_keeping: true, ..Meddled::with(&bank.letters) });
    for _ in 0..3 {
        bank.handle_next(&ending).await;
    }
    bank.send("second", "deposit", 1, 1);
    bank.handle_next(&bank.flow()).await;
    assert_eq!(bank.store.outcomes().len(), 0, "neither has ended yet");

    bank.settle().await;
    let expected = [letter(1, Failed, "failed"), letter(2, Parked, "second")];
    assert_eq!((letters(&bank), code(&bank.outcome("failed"))), (expected.to_vec(), "failed"));
    let ends: Vec<_> = bank.endings().iter().map(|record| record.outcome.clone()).collect();
    assert_eq!(ends, [bank.outcome("failed")], "who waits is told");
    let settled = bank.queue.settlements().pop();
    assert!(
        matches!(&settled, Some((_, Settlement::Terminate(why))) if why.contains("it broke")),
        "{settled:?}"
    );

    // As with its retry, which is the first of its queue and so decided once more.
    bank.manners.breaks.store(6, Ordering::Relaxed);
    let retried = bank.letters.all()[0].1.message.clone();
    reopen(&bank, &CommandId::new("failed").unwrap()).await;
    let mut headers = retried.headers;
    headers.push(RETRY_OF, "1");
    bank.queue.publish(retried.subject, headers, retried.payload);
    for _ in 0..3 {
        bank.handle_next(&ending).await;
    }
    bank.settle().await;
    assert_eq!((letters(&bank), code(&bank.outcome("failed"))), (expected.to_vec(), "failed"));
}

#[tokio::test(start_paused = true)]
async fn a_forged_retry_of_another_command_waits_like_everybody() {
    let bank = with_a_failure().await;
    bank.send_with("forged", "deposit", 1, 2, &[(RETRY_OF, "1")]);
    bank.settle().await;
    let expected = [letter(1, DeadLetterKind::Failed, "failed"), letter(2, DeadLetterKind::Parked, "forged")];
    assert_eq!(letters(&bank), expected);
}

/// What an operator does: the letters of the account one after the other, until one fails again. Answers how many went.
async fn retry(bank: &Bank, account: u32) -> usize {
    let mut settled = 0;
    let key = format!("account.{account}");
    let first = || bank.letters.all().into_iter().find(|(_, letter)| letter.key.as_ref() == Some(&key));
    while let Some((at, letter)) = first() {
        let DeadLetter { message, .. } = letter;
        let id = CommandId::new(message.subject.rsplit('.').next().unwrap()).unwrap();
        reopen(bank, &id).await;
        let mut headers = message.headers.clone();
        headers.push(RETRY_OF, at.to_string());
        bank.queue.publish(message.subject.clone(), headers, message.payload.clone());
        while !bank.store.outcomes().contains_key(&id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if code(&bank.outcome(id.as_str())) == "failed" {
            break;
        }
        bank.letters.remove(at);
        settled += 1;
    }
    settled
}

/// Claims the id over a failure.
async fn reopen(bank: &Bank, id: &CommandId) {
    loop {
        let Ok(Registered { entry, revision }) = bank.store.registered(id).await else { continue };
        let failed = matches!(&entry, Entry::Outcome(record) if code(&record.outcome) == "failed");
        if !failed || matches!(bank.store.claim(id, Claim::default(), revision).await, Ok(Some(_))) {
            return;
        }
    }
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
    host.abort();
    let codes = ["failed", "second", "third"].map(|id| code(&bank.outcome(id)).to_owned());
    assert_eq!(codes, ["accepted", "accepted", "too-little"], "each on the events of the one before");
    bank.send("fourth", "deposit", 1, 1);
    bank.settle().await;
    assert_eq!((letters(&bank), code(&bank.outcome("fourth"))), (Vec::new(), "accepted"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_fails_keeps_its_place_and_the_others_wait_on() {
    let bank = with_a_failure().await;
    bank.send("second", "deposit", 1, 1);
    bank.settle().await;
    let before = letters(&bank);
    bank.manners.breaks.store(3, Ordering::Relaxed);
    let host = bank.host();
    assert_eq!(retry(&bank, 1).await, 0);
    bank.settled().await;
    assert_eq!((letters(&bank), code(&bank.outcome("failed"))), (before, "failed"));
    assert_eq!(retry(&bank, 1).await, 2);
    host.abort();
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
            bank.manners.breaks.store(rng.u32(3..7), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
    }
    let calm = async {
        let mut settled = 0;
        while bank.queue.unsettled() > 0 || !bank.letters.all().is_empty() {
            for account in 0..3 {
                settled += retry(&bank, account).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        settled
    };
    let settled =
        tokio::time::timeout(Duration::from_secs(3600), calm).await.expect("nothing waits for ever");
    hosts.iter().for_each(JoinHandle::abort);
    bank.audit(&sent);
    let failed = bank.store.outcomes().values().filter(|record| code(&record.outcome) == "failed").count();
    assert_eq!(failed, 0, "every failure was retried until it ended otherwise");
    settled
}

#[test]
fn storms_with_failures_and_an_operator_leave_nothing_waiting() {
    let mut settled = 0;
    each_seed(0..100, storm).for_each(|more| settled += more);
    assert!(settled > 50, "the storms must park something: {settled}");
}
