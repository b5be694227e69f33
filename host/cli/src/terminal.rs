//! Escapes foreign text for a terminal: subjects, keys, causes, payloads, descriptors.

use std::fmt::Write as _;
use std::io::Write as _;

/// The text with every character shown in escaped form that could move the cursor, change colours, hide or reorder
/// text: control characters (C0, DEL and C1) and Unicode's format characters. Line ends and tabs stay, because whoever
/// prints several lines wants them; see [`one_line`] for a cell or a title.
#[must_use]
pub(crate) fn escaped(text: &str) -> String {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// As [`escaped`], also without line ends and tabs.
#[must_use]
pub(crate) fn one_line(text: &str) -> String {
    escape(text, |_| false)
}

/// Writes a line to stdout. A closed stdout is not an error: the output may be piped into `head`.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Columns under their titles, each cell on one line. `None` without a row.
pub(crate) fn table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Option<String> {
    let rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    if rows.is_empty() {
        return None;
    }
    let titles: Vec<String> = titles.iter().map(|&title| title.to_owned()).collect();
    let rows: Vec<Vec<String>> = [titles].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    Some(rows.iter().map(line).collect())
}

fn escape(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if kept(c) || !(c.is_control() || is_format(c)) {
            safe.push(c);
        } else if c.is_ascii() {
            safe.extend(c.escape_default());
        } else {
            let _ = write!(safe, "{}", c.escape_unicode());
        }
    }
    safe
}

/// Characters that change how others are shown and show nothing themselves: Unicode's categories Cf, Zl and Zp, and the
/// fillers that look like blanks.
fn is_format(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x115F..=0x1160
        | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164
        | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_each_title_and_is_left_out_when_empty() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let shown =
            table(&["VIEW", "LAG"], [row(&["bookings-v1", "0"]), row(&["b\u{1b}", "12"])].into_iter());
        assert_eq!(shown.as_deref(), Some("VIEW         LAG\nbookings-v1  0\nb\\u{1b}      12\n"));
        assert_eq!(table(&["VIEW"], std::iter::empty()), None);
    }

    #[test]
    fn r31_foreign_text_cannot_drive_a_terminal() {
        for (text, safe) in [
            ("booking.1 Bär 日本 🙂", "booking.1 Bär 日本 🙂"),
            // Clears the screen; sets the title; answers as if it were typed; the same in C1.
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{1b}]0;owned\u{7}", "\\u{1b}]0;owned\\u{7}"),
            ("\u{9b}31m\u{9d}", "\\u{9b}31m\\u{9d}"),
            // Overwrites the line from its beginning; deletes backwards.
            ("dropped\rsettled", "dropped\\rsettled"),
            ("a\u{8}b\u{7f}\0", "a\\u{8}b\\u{7f}\\u{0}"),
            // Reorders what follows; hides; joins.
            ("\u{202e}evil\u{2066}", "\\u{202e}evil\\u{2066}"),
            ("a\u{200b}b\u{feff}\u{2028}", "a\\u{200b}b\\u{feff}\\u{2028}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escaped(text), safe);
            assert_eq!(one_line(text), safe);
        }
        assert_eq!(escaped("a\n\tb"), "a\n\tb");
        assert_eq!(one_line("a\n\tb"), "a\\n\\tb");
    }
}
