//! What this thread logs, line by line, with the fields of the present span.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Level;
use tracing::subscriber::{DefaultGuard, set_default};

/// The log of this thread from now on.
pub(crate) struct Log {
    written: Written,
    _listening: DefaultGuard,
}

impl Log {
    /// Lines of this level and above.
    pub(crate) fn listen(level: Level) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false);
        let log = log.with_max_level(level).with_writer(move || writer.clone()).finish();
        Self { written, _listening: set_default(log) }
    }

    /// The lines since the last time.
    pub(crate) fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.written.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What a line says.
pub(crate) fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap()
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
