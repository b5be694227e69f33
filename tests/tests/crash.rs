//! A short run of the crash harness; `make crash` runs it for any time. It prints its seed, which replays the run.

use std::time::Duration;

use pelton_tests::crash::{Settings, run};

#[tokio::test]
async fn every_command_takes_effect_once_whatever_crashes() {
    let length = Duration::from_secs(20);
    let summary = run(Settings { seed: 7, replicas: 1, length }).await.unwrap();
    println!("{summary}");
    assert!(summary.violations.is_empty(), "{summary}: {:#?}", summary.violations);
}
