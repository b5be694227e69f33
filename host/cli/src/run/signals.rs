//! SIGINT and SIGTERM: the first stops cleanly, the second exits at once.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Handles both signals, so that neither ends the process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Cancels `stop` at the first signal and ends the process at the second.
    pub(crate) async fn stop_then_exit(mut self, stop: CancellationToken) -> Infallible {
        let (name, _) = self.next().await;
        tracing::info!("{name}: stopping; a second signal exits at once");
        stop.cancel();
        let (name, code) = self.next().await;
        tracing::warn!("{name} again: exiting at once; unfinished messages will be redelivered");
        std::process::exit(code)
    }

    /// The next signal's name, and the exit code of a process that it ends.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", 130),
            _ = self.terminate.recv() => ("SIGTERM", 143),
        }
    }
}
