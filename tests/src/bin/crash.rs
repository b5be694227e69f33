//! `make crash`: kills hosts and servers and cuts connections under load, for `MINUTES` (1), on `REPLICAS` (1 or 3)
//! servers, as `SEED` says (a new one each time), and checks that every command took effect once. With `SWAPS=1` (`make
//! swap-storm`) versions of the plugin take each other's place meanwhile.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use pelton_tests::crash::{Settings, run};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match crash().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("crash: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn crash() -> anyhow::Result<bool> {
    let minutes: f64 = setting("MINUTES", 1.0)?;
    ensure!(minutes > 0.0 && minutes <= 10_000.0, "MINUTES is {minutes}; 0 to 10000 can be told");
    let replicas = setting("REPLICAS", 1)?;
    ensure!([1, 3].contains(&replicas), "REPLICAS is {replicas}; it can be 1 or 3");
    let seed = setting("SEED", u64::from(std::process::id()) ^ fastrand::u64(..1 << 32))?;
    let swaps = setting("SWAPS", 0)? != 0;
    let length = Duration::from_secs_f64(minutes * 60.0);
    let mut terminated = signal(SignalKind::terminate())?;
    let summary = tokio::select! {
        summary = run(Settings { seed, replicas, length, swaps }) => summary?,
        // The processes that were started end with this function.
        _ = terminated.recv() => anyhow::bail!("stopped"),
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped"),
    };
    println!("{summary}");
    Ok(summary.violations.is_empty())
}

/// The value of an environment variable, or a default. An empty text counts as unset.
fn setting<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{name} is {text:?}")),
        _ => Ok(default),
    }
}
