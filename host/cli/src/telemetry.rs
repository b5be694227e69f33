//! The log on stderr. Stdout carries a command's results.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::common::LogFormat;
use crate::repeats::OnceInARow;

/// Whether stderr is a terminal whose user wants colour (<https://no-color.org>).
#[must_use]
pub(crate) fn colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts the log. Fails if the filter is wrong.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let parsed = EnvFilter::builder().parse(filter).map_err(|e| format!("--log {filter:?}: {e}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(stderr);
    match format {
        LogFormat::Human => {
            log.with_writer(OnceInARow::new(stderr())).with_ansi(colour()).with_target(false).init();
        }
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
        }
    }
    Ok(())
}
