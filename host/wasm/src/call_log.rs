//! The lines that a guest writes to its log in one call, bounded.

use std::fmt::Write;

use crate::limits::Limits;

/// The kept lines of a call.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    lines: Vec<String>,
    bytes: usize,
    cut: usize,
}

impl CallLog {
    /// Starts a new call.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.bytes = 0;
        self.cut = 0;
    }

    /// The number of bytes of the next line that are kept. `None` if the line is only counted.
    pub(crate) fn room(&self, limits: &Limits) -> Option<usize> {
        let left = limits.log_bytes.saturating_sub(self.bytes);
        (self.lines.len() < limits.log_lines && left > 0).then_some(left)
    }

    /// Counts a line that is not kept.
    pub(crate) fn cut(&mut self) {
        self.cut += 1;
    }

    /// Keeps a line, with its level in front.
    pub(crate) fn keep(&mut self, level: &str, line: &str) {
        self.bytes += line.len();
        self.lines.push(format!("{level}: {line}"));
    }

    /// The message of the last panic, as the SDK logs it: the place, then the message.
    pub(crate) fn last_panic(&self) -> Option<&str> {
        let said = self.lines.iter().rev().find_map(|line| line.strip_prefix("error: "));
        said.filter(|said| said.starts_with("panicked at "))
    }

    /// The kept lines, and the number of lines that were cut.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.cut > 0 {
            lines.push(format!("({} more lines were cut)", self.cut));
        }
        self.clear();
        lines
    }
}

/// Escapes control characters, so that a guest can neither forge lines of the host's log nor steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N11: the useful line drowned among the backtraces.
    #[test]
    fn the_last_words_of_a_panic_are_found() {
        let mut log = CallLog::default();
        log.keep("error", "panicked at src/a.rs:1:2: a first one, caught");
        log.keep("error", "panicked at src/lib.rs:15:44: index out of bounds");
        log.keep("info", "unwinding");
        assert_eq!(log.last_panic(), Some("panicked at src/lib.rs:15:44: index out of bounds"));
        log.keep("error", "something else");
        assert_eq!(log.last_panic(), None);
    }

    #[test]
    fn a_line_cannot_forge_another() {
        assert_eq!(printable("a\nERROR b\u{1b}[31m\tc"), "a\\nERROR b\\u{1b}[31m\tc");
    }
}
