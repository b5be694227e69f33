//! Shortens causes of dead letters to one line each that still tells them apart.

use std::collections::BTreeSet;

/// The longest cause in a listing, in characters.
const MAX_CHARS: usize = 200;
/// Causes that share a longer beginning than this, in characters, are shown from where they differ.
const MAX_ALIKE_CHARS: usize = 60;
/// The number of shared characters that are shown before the difference.
const SHOWN_ALIKE_CHARS: usize = 30;

/// The first line, not too long, without the digest that a plugin's fault begins with.
pub(super) fn short(cause: &str, digest: Option<&str>) -> String {
    bounded(&first_line(cause, digest))
}

/// The same for several causes, without a long beginning that all share.
pub(super) fn tell_apart<'a>(causes: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<String> {
    let lines: Vec<String> = causes.map(|(cause, digest)| first_line(cause, digest)).collect();
    let different: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let alike = match (different.first(), different.last()) {
        // In sorted order, the first and the last share what all share.
        (Some(first), Some(last)) if different.len() > 1 => alike_chars(first, last),
        _ => 0,
    };
    if alike <= MAX_ALIKE_CHARS {
        return lines.iter().map(|line| bounded(line)).collect();
    }
    let shown = |line: &String| {
        let beginning: String = line.chars().take(SHOWN_ALIKE_CHARS).collect();
        let rest: String = line.chars().skip(alike).collect();
        bounded(&format!("{beginning}…{rest}"))
    };
    lines.iter().map(shown).collect()
}

fn first_line(cause: &str, digest: Option<&str>) -> String {
    let line = cause.lines().next().unwrap_or_default();
    digest.map_or_else(|| line.to_owned(), |digest| line.replacen(&format!(" ({digest})"), "", 1))
}

/// The number of characters that both begin with, up to the beginning of a word.
fn alike_chars(a: &str, b: &str) -> usize {
    let alike: Vec<char> = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    alike.iter().rposition(|c| *c == ' ').unwrap_or(0)
}

fn bounded(line: &str) -> String {
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<const N: usize>(causes: [&str; N]) -> Vec<String> {
        tell_apart(causes.into_iter().map(|cause| (cause, Some("sha256:0"))))
    }

    /// N11: each cause was cut at the same place, where all were alike.
    #[test]
    fn causes_are_shown_where_they_differ() {
        let alike = "plugin books (sha256:0): panicked at plugins/books/src/lib.rs:15:44: called unwrap on a None of the";
        assert_eq!(
            told([
                &format!("{alike} first kind"),
                &format!("{alike} second kind"),
                &format!("{alike} first kind")
            ]),
            [
                "plugin books: panicked at plug… first kind",
                "plugin books: panicked at plug… second kind",
                "plugin books: panicked at plug… first kind",
            ]
        );
    }

    #[test]
    fn a_cause_is_shown_whole_where_there_is_nothing_to_tell_apart() {
        let long = "panicked at src/lib.rs:15:44: index out of bounds: the len is 2 but the index is 2 (trapped: unreachable)";
        let fault = format!("plugin books (sha256:0): {long}");
        for causes in
            [vec![fault.as_str()], vec![fault.as_str(), fault.as_str()], vec![fault.as_str(), "it waits"]]
        {
            let told = tell_apart(causes.into_iter().map(|cause| (cause, Some("sha256:0"))));
            assert_eq!(told[0], format!("plugin books: {long}"));
        }
        assert_eq!(short(&"é".repeat(300), None).chars().count(), MAX_CHARS + 1);
    }
}
