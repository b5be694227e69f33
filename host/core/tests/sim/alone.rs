//! A command that is to be handled alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton_core::command::reader;
use pelton_core::consumer::{Consumer, Delivery, Settlement};
use pelton_core::id::Sequence;
use pelton_core::memory::{FlakyNetwork, MemoryConsumer, MemoryDelivery};
use pelton_core::message::Incoming;

use crate::bank::{Bank, LIMITS, no_versions};

/// What was given out and settled, in order.
type Log = Arc<Mutex<Vec<(&'static str, Sequence)>>>;

/// Has every third message handled alone.
struct Careful {
    inner: MemoryConsumer,
    log: Log,
}

struct Given {
    inner: MemoryDelivery,
    log: Log,
}

fn is_alone(sequence: Sequence) -> bool {
    sequence.0.is_multiple_of(3)
}

impl Consumer for Careful {
    type Delivery = Given;

    async fn next(&mut self) -> Option<Given> {
        let inner = self.inner.next().await?;
        self.log.lock().unwrap().push(("given", inner.message().sequence));
        Some(Given { inner, log: self.log.clone() })
    }
}

impl Delivery for Given {
    fn message(&self) -> &Incoming {
        self.inner.message()
    }

    fn is_alone(&self) -> bool {
        is_alone(self.inner.message().sequence)
    }

    async fn progress(&self) {
        self.inner.progress().await;
    }

    async fn settle(&self, settlement: Settlement) {
        self.log.lock().unwrap().push(("settled", self.message().sequence));
        self.inner.settle(settlement).await;
    }
}

// R10: what ends a process takes along whatever is in hand beside it.
#[tokio::test(start_paused = true)]
async fn what_is_to_be_handled_alone_waits_for_all_others_and_they_for_it() {
    let bank = Bank::new(FlakyNetwork::flaky(7, 50, 0));
    for n in 0..30 {
        bank.send(&format!("c{n}"), "deposit", n, 5);
    }
    let log = Log::default();
    let consumer = Careful { inner: bank.queue.consumer(), log: log.clone() };
    let (intake, shards) = (bank.intake.clone(), vec![bank.flow(), bank.flow()]);
    tokio::spawn(async move { reader::run(consumer, intake, shards, no_versions(), LIMITS).await });
    tokio::time::timeout(Duration::from_secs(60), bank.settled()).await.expect("all are handled");

    let log = log.lock().unwrap();
    let at = |what, sequence| log.iter().position(|entry| *entry == (what, sequence)).expect("an entry");
    let mut were_beside_others = 0;
    for sequence in (1..=30).map(Sequence) {
        let (given, settled) = (at("given", sequence), at("settled", sequence));
        if !is_alone(sequence) {
            were_beside_others += usize::from(settled > given + 1);
            continue;
        }
        let others_given = log[given + 1..settled].iter().any(|(what, _)| *what == "given");
        assert!(!others_given, "{sequence}: {log:?}");
        let open = (1..sequence.0).map(Sequence).find(|earlier| at("settled", *earlier) > settled);
        assert_eq!(open, None, "{sequence}: {log:?}");
    }
    assert!(were_beside_others > 5, "{log:?}");
}
