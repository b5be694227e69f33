//! The lines that a guest writes to its log in one call, bounded.

use std::fmt::Write;

use crate::limits::Limits;

/// How the message of a panic begins, in the SDK and in Rust's standard library.
const PANIC: &str = "panicked at ";
/// How Python begins to tell of an exception; what it was comes last.
const TRACEBACK: &str = "Traceback (most recent call last)";

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

    /// What the guest said of the trap that it ran into: the message of the last panic, as the SDK logs it, or the end of
    /// what a language's runtime printed to stderr.
    pub(crate) fn last_words(&self) -> Option<String> {
        let last_error = self.lines.iter().rev().find_map(|line| line.strip_prefix("error: "));
        let logged = last_error.filter(|said| said.starts_with(PANIC)).map(str::to_owned);
        logged.or_else(|| self.last_printed_words())
    }

    /// The last panic of Rust's standard library, which prints the place and the message on two lines, or else the last
    /// line on stderr. The panic of a Python component says only that there was an exception, which is printed before.
    fn last_printed_words(&self) -> Option<String> {
        let printed: Vec<_> = self.lines.iter().filter_map(|line| line.strip_prefix("stderr: ")).collect();
        let panic =
            printed.iter().enumerate().rev().find_map(|(n, line)| Some((n, &line[line.find(PANIC)?..])));
        match panic {
            Some((n, _)) if printed[..n].iter().any(|line| line.starts_with(TRACEBACK)) => {
                Some(printed[n - 1].to_owned())
            }
            Some((n, place)) => Some(match printed.get(n + 1).filter(|_| place.ends_with(':')) {
                Some(message) => format!("{place} {message}"),
                None => place.to_owned(),
            }),
            None => printed.last().map(|line| (*line).to_owned()),
        }
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
        assert_eq!(log.last_words().as_deref(), Some("panicked at src/lib.rs:15:44: index out of bounds"));
        log.keep("error", "something else");
        assert_eq!(log.last_words(), None);
    }

    #[test]
    fn the_last_words_of_a_runtime_are_on_stderr() {
        for (printed, expected) in [
            (&["Traceback (most recent call last):", "ValueError: no room"][..], "ValueError: no room"),
            (
                &[
                    "Traceback (most recent call last):",
                    "ValueError: no room",
                    "thread '<unnamed>' panicked at a.rs:1:1:",
                    "oh",
                ],
                "ValueError: no room",
            ),
            (
                &["", "thread '<unnamed>' panicked at src/lib.rs:3:5:", "boom", "note: run with …"],
                "panicked at src/lib.rs:3:5: boom",
            ),
            (&["thread 'main' panicked at 'boom', src/lib.rs:3:5"], "panicked at 'boom', src/lib.rs:3:5"),
        ] {
            let mut log = CallLog::default();
            printed.iter().for_each(|line| log.keep("stderr", line));
            log.keep("stdout", "and more");
            assert_eq!(log.last_words().as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_line_cannot_forge_another() {
        assert_eq!(printable("a\nERROR b\u{1b}[31m\tc"), "a\\nERROR b\\u{1b}[31m\tc");
    }
}
