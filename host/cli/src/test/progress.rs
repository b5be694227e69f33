//! Which rule is being tested, on a terminal: one line, which the report takes the place of.

use std::io::{IsTerminal, Stderr, Write, stderr};

use pelton_kit::{Rule, rule};

/// To the beginning of the line, and nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// The line.
pub(super) struct Progress<W: Write> {
    /// `None`: nobody looks at it.
    terminal: Option<W>,
}

impl Progress<Stderr> {
    /// On stderr, if that is a terminal.
    pub(super) fn on_stderr() -> Self {
        Self { terminal: stderr().is_terminal().then(stderr) }
    }
}

impl<W: Write> Progress<W> {
    /// Shows the rule that is tested now, and its place among all.
    pub(super) fn shows(&mut self, rule: &Rule, nth: usize) {
        self.write(&format!("{CLEAR}{nth} of {}: {} {}", rule::all().len(), rule.id, rule.name));
    }

    /// Makes room for the report.
    pub(super) fn clear(&mut self) {
        self.write(CLEAR);
    }

    /// A terminal that is gone is not an error.
    fn write(&mut self, text: &str) {
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.write_all(text.as_bytes());
            let _ = terminal.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_one_rule_at_a_time_and_nothing_in_the_end() {
        let mut written = Vec::new();
        let mut progress = Progress { terminal: Some(&mut written) };
        let first = rule::all()[0];
        progress.shows(first, 1);
        progress.shows(rule::all()[1], 2);
        progress.clear();
        let written = String::from_utf8(written).unwrap();
        let lines: Vec<&str> = written.split(CLEAR).collect();
        let of =
            |nth: usize, rule: &Rule| format!("{nth} of {}: {} {}", rule::all().len(), rule.id, rule.name);
        assert_eq!(lines, ["", &of(1, first), &of(2, rule::all()[1]), ""]);
    }
}
