//! A log writer that replaces repeated lines with one line and a count.
//!
//! A host has a connection for each of its consumers, so an event that hits all of them would fill the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// A repeat after this time is written again, to show that it goes on.
const WINDOW: Duration = Duration::from_secs(2);

/// Writes each line to `W`, unless it repeats the last one.
#[derive(Debug)]
pub(crate) struct OnceInARow<W>(Arc<Mutex<State<W>>>);

#[derive(Debug)]
struct State<W> {
    to: W,
    /// The last line without its timestamp, and when it was written.
    last: Option<(Vec<u8>, Instant)>,
    /// The number of repeats.
    repeats: usize,
}

impl<W> OnceInARow<W> {
    pub(crate) fn new(to: W) -> Self {
        Self(Arc::new(Mutex::new(State { to, last: None, repeats: 0 })))
    }
}

impl<W> Clone for OnceInARow<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: Write> Write for OnceInARow<W> {
    /// One call is one line of the log.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).line(line, Instant::now())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).to.flush()
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for OnceInARow<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl<W: Write> State<W> {
    fn line(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        let said = without_time(line);
        if self.last.as_ref().is_some_and(|(last, at)| last == said && now.duration_since(*at) < WINDOW) {
            self.repeats += 1;
            return Ok(());
        }
        match std::mem::take(&mut self.repeats) {
            0 => {}
            1 => writeln!(self.to, "  (once more)")?,
            repeats => writeln!(self.to, "  ({repeats} more times)")?,
        }
        self.last = Some((said.to_owned(), now));
        self.to.write_all(line)
    }
}

/// A line begins with its time in UTC, which ends in a Z.
fn without_time(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| *byte == b'Z').map_or(0, |at| at + 1);
    &line[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_again_is_counted() {
        let mut state = State { to: Vec::new(), last: None, repeats: 0 };
        let began = Instant::now();
        let lines = [
            ("0Z WARN lost\n", 0),
            ("1Z WARN lost\n", 0),
            ("2Z WARN lost\n", 1),
            ("3Z WARN found\n", 1),
            ("4Z WARN lost\n", 1),
            ("5Z WARN lost\n", 4),
        ];
        for (line, second) in lines {
            state.line(line.as_bytes(), began + Duration::from_secs(second)).expect("it is written");
        }
        assert_eq!(
            String::from_utf8_lossy(&state.to),
            "0Z WARN lost\n  (2 more times)\n3Z WARN found\n4Z WARN lost\n5Z WARN lost\n"
        );
    }
}
