//! How a saga's commands ended is told to the saga before they are acknowledged, whatever crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pelton_core::command::outcome::Outcome;
use pelton_core::memory::FlakyNetwork;
use pelton_core::outcomes::{CommandReport, CommandResult, REFERENCE};

use tokio::task::JoinHandle;

use super::bank::{Bank, crash};
use super::{each_seed, late_reports, number};

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

/// A storm over hosts that are started like this. The error says which outcome is lost or wrong.
async fn storm(seed: u64, host: fn(&Bank) -> JoinHandle<()>) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let bank = Bank::new(FlakyNetwork::flaky(rng.u64(..), 30, rng.u32(20..150)));
    let mut hosts: Vec<_> = (0..3).map(|_| host(&bank)).collect();
    for n in 0..40 {
        let r#type = *rng.choice(&["deposit", "withdraw", "split", "nothing"]).unwrap();
        for _ in 0..rng.u32(1..3) {
            send(&bank, n, r#type, rng.u32(0..3), rng.i64(1..20));
        }
        if rng.u32(0..6) == 0 {
            let crashed = rng.usize(..3);
            crash(std::mem::replace(&mut hosts[crashed], host(&bank))).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
    }
    tokio::time::timeout(Duration::from_secs(3600), bank.settled()).await.expect("everything is settled");
    // The end of the storm is no crash: what a host still does is done.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for host in hosts {
        crash(host).await;
    }
    let (told, outcomes) = (told(&bank), bank.outcomes());
    let expected: BTreeSet<String> = (0..40).map(id).collect();
    let lost: Vec<_> = expected.iter().filter(|id| !told.contains_key(*id)).collect();
    if !lost.is_empty() || told.len() != expected.len() {
        return Err(format!("no outcome is told of {lost:?}"));
    }
    for (command, outcome) in outcomes {
        let wanted = match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Failed { .. } => "set-aside",
        };
        let results: BTreeSet<_> =
            told[command.as_str()].iter().map(|report| report.result.as_str()).collect();
        if results != BTreeSet::from([wanted]) {
            return Err(format!("{command} was {wanted}, and told is {results:?}"));
        }
    }
    Ok(())
}

fn seeds() -> std::ops::Range<u64> {
    0..number("PELTON_SIM_STORMS").unwrap_or(20)
}

#[test]
fn no_report_is_lost_whatever_crashes() {
    each_seed(seeds(), |seed| async move { storm(seed, Bank::host).await.unwrap() }).for_each(drop);
}

#[test]
fn an_outcome_after_the_acknowledgement_is_found() {
    let found = each_seed(seeds(), |seed| storm(seed, late_reports::host)).find_map(Result::err);
    assert!(found.is_some_and(|wrong| wrong.contains("no outcome is told")), "the planted bug is not found");
}
