//! A short run of the crash harness; `make crash` runs it for any time. It prints its seed, which replays the run.

use std::time::Duration;

use pelton_tests::crash::{Settings, run};

#[tokio::test]
async fn every_command_takes_effect_once_whatever_crashes() {
    holds(Settings { seed: 7, replicas: 1, length: Duration::from_secs(20), swaps: false }).await;
}

/// Versions are pushed, activated, rolled back and refused while hosts and the server are killed and stand still.
#[tokio::test]
async fn swaps_lose_nothing_and_repeat_nothing() {
    let swaps = holds(Settings { seed: 8, replicas: 1, length: Duration::from_secs(20), swaps: true }).await;
    assert!(swaps > 1, "nothing was switched while it ran");
}

/// Returns how many switches there were.
async fn holds(settings: Settings) -> u64 {
    let summary = run(settings).await.unwrap();
    println!("{summary}");
    assert!(summary.violations.is_empty(), "{summary}: {:#?}", summary.violations);
    summary.swaps
}
