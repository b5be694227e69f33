//! How a saga's commands ended is told to the saga before they are acknowledged, whatever crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pelton_core::command::outcome::Outcome;
use pelton_core::memory::FlakyNetwork;
use pelton_core::outcomes::{CommandReport, CommandResult, REFERENCE};

use super::bank::{Bank, crash};

/// The id of the n-th command of a saga.
fn id(n: usize) -> String {
    format!("saga:s:i:bank:{n}:0")
}

fn send(bank: &Bank, n: usize, r#type: &str, account: u32, amount: i64) {
    let reference = format!("r{n}");
    bank.send_from("/s/i", (&id(n), r#type, account, amount), ".saga", &[(REFERENCE, &reference)]);
}

/// What was told of each command.
fn told(bank: &Bank) -> BTreeMap<String, Vec<CommandReport>> {
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for report in bank.store.reports() {
        told.entry(report.command_id.to_string()).or_default().push(report);
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_saga_is_told_how_each_of_its_commands_ended_and_no_client_is_reported() {
    let bank = Bank::new(FlakyNetwork::reliable());
    for (n, r#type, amount) in
        [(0, "deposit", 7), (1, "withdraw", 9), (2, "nothing", 0), (3, "undeclared", 1)]
    {
        send(&bank, n, r#type, 1, amount);
    }
    bank.send("client", "deposit", 1, 1);
    // No account can be found in it, so it is no command that could be decided.
    bank.queue.publish(
        format!("command.deposit.{}.saga", id(4)),
        bank.headers("/s/i", &id(4), "deposit"),
        "{}".into(),
    );
    bank.settle().await;
    let told = told(&bank);
    let results: Vec<_> = told.values().map(|reports| reports[0].result.as_str()).collect();
    assert_eq!(results, ["accepted", "rejected", "accepted", "set-aside", "set-aside"]);
    assert!(told.values().all(|reports| reports.len() == 1), "{told:?}");
    let [first] = &told[&id(0)][..] else { panic!() };
    assert_eq!((first.r#type.as_str(), first.reference.as_deref()), ("deposit", Some("r0")));
    let CommandResult::Accepted(events) = &first.result else { panic!() };
    assert_eq!(events, &[format!("{}:0", id(0))]);
}

#[tokio::test(start_paused = true)]
async fn no_report_is_lost_whatever_crashes() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bank = Bank::new(FlakyNetwork::flaky(rng.u64(..), 30, rng.u32(20..150)));
        let mut hosts: Vec<_> = (0..3).map(|_| bank.host()).collect();
        for n in 0..40 {
            let r#type = *rng.choice(&["deposit", "withdraw", "split", "nothing"]).unwrap();
            for _ in 0..rng.u32(1..3) {
                send(&bank, n, r#type, rng.u32(0..3), rng.i64(1..20));
            }
            if rng.u32(0..6) == 0 {
                let crashed = rng.usize(..3);
                crash(std::mem::replace(&mut hosts[crashed], bank.host())).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
        }
        tokio::time::timeout(Duration::from_secs(3600), bank.settled()).await.expect("everything is settled");
        for host in hosts {
            crash(host).await;
        }
        let (told, outcomes) = (told(&bank), bank.outcomes());
        assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), (0..40).map(id).collect(), "seed {seed}");
        for (command, outcome) in outcomes {
            let wanted = match outcome {
                Outcome::Accepted { .. } => "accepted",
                Outcome::Rejected { .. } => "rejected",
                Outcome::Failed { .. } => "set-aside",
            };
            let results: BTreeSet<_> =
                told[command.as_str()].iter().map(|report| report.result.as_str()).collect();
            assert_eq!(results, BTreeSet::from([wanted]), "seed {seed}, {command}");
        }
    }
}
