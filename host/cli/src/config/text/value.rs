//! Single values: durations, sizes, pointers, subjects. Every error ends a sentence that begins with the value.

use std::time::Duration;

/// Reads a whole number with a unit, such as `200ms`, `5s` or `14d`. The error ends a sentence that begins with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("does not begin with a whole number".to_owned());
    }
    let milliseconds: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err("has no unit".to_owned()),
        other => return Err(format!("has the unknown unit `{other}`")),
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    total.map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

/// The shortest way to write a duration that [`duration`] reads, for messages.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| milliseconds >= *size && milliseconds.is_multiple_of(*size))
        .unwrap_or((1, "ms"));
    format!("{}{unit}", milliseconds / size)
}

/// Reads a whole number of bytes with or without a unit, such as `4096`, `512KiB` or `64MiB`.
pub(in crate::config) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("does not begin with a whole number".to_owned());
    }
    let size: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("has the unknown unit `{other}`")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(size))
        .ok_or_else(|| "is too large".to_owned())
}

/// The shortest way to write a size that [`bytes()`] reads, for messages.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size))
        .unwrap_or((1, " bytes"));
    format!("{}{unit}", bytes / size)
}

/// The longest name: with it, every name that Pelton makes on the server stays far below the server's limits.
pub const MAX_NAME_BYTES: usize = 48;

/// Checks a name that Pelton uses for streams, consumers, buckets and metrics. Answers where in it the mistake is.
pub(crate) fn name(text: &str) -> Result<(), (usize, String)> {
    if text.is_empty() {
        return Err((0, "is empty".to_owned()));
    }
    if let Some((at, character)) =
        text.char_indices().find(|(_, c)| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
    {
        return Err((
            at,
            format!("contains {character:?}; a name is made of `a` to `z`, `0` to `9` and `-`"),
        ));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err((0, format!("has {} bytes; at most {MAX_NAME_BYTES} are allowed", text.len())));
    }
    Ok(())
}

/// Checks a JSON pointer (RFC 6901) to a part of a document. Answers where in it the mistake is.
pub(crate) fn pointer(text: &str) -> Result<(), (usize, String)> {
    if !text.starts_with('/') {
        return Err((0, "is not a JSON pointer: it does not begin with `/`".to_owned()));
    }
    for (at, _) in text.match_indices('~') {
        if !matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')) {
            return Err((at, "is not a JSON pointer: `~` is followed by neither `0` nor `1`".to_owned()));
        }
    }
    Ok(())
}

/// Checks a subject that may have wildcards. Answers where in it the mistake is.
pub(in crate::config) fn subject(text: &str) -> Result<(), (usize, String)> {
    let mut at = 0;
    let last = text.split('.').count() - 1;
    for (index, token) in text.split('.').enumerate() {
        let wrong = match token {
            "" => Some("has an empty token".to_owned()),
            "*" => None,
            ">" if index == last => None,
            ">" => Some("has `>` before its end".to_owned()),
            _ => pelton_core::id::check_token(token).err().map(|cause| match cause {
                pelton_core::id::TokenError::Character { character: '*' | '>', .. } => {
                    format!("has the wildcard in `{token}`; a wildcard stands alone between dots")
                }
                cause => format!("has the token {token:?}, which {cause}"),
            }),
        };
        if let Some(wrong) = wrong {
            return Err((at, wrong));
        }
        at += token.len() + 1;
    }
    Ok(())
}

/// Whether there can be a subject that both patterns take in.
pub(in crate::config) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// Whether `wide` takes in every subject that `narrow` takes in.
pub(in crate::config) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(n)) if n != ">" => {}
            (Some(w), Some(n)) if w == n && w != ">" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("2 m", 120_000),
            ("1h", 3_600_000),
            ("14d", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, part) in [
            ("", "whole number"),
            ("s", "whole number"),
            ("-1s", "whole number"),
            ("5", "no unit"),
            ("1.5s", "unknown unit `.5s`"),
            ("5 sec", "unknown unit `sec`"),
            ("99999999999999999d", "too long"),
            ("99999999999999999999ms", "too long"),
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in ["200ms", "5s", "90s", "14d", "25h", "0ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        for (text, size) in
            [("4096", 4096), ("1B", 1), ("512KiB", 524_288), ("64 MiB", 67_108_864), ("1GiB", 1 << 30)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for (text, part) in
            [("MiB", "whole number"), ("5MB", "unknown unit `MB`"), ("99999999999GiB", "too large")]
        {
            let error = bytes(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!([show_bytes(1 << 20), show_bytes(1000)], ["1MiB", "1000 bytes"]);
    }

    #[test]
    fn subjects_overlap_where_one_message_fits_both() {
        for (one, other, overlapping) in [
            ("a.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b", "a.*", true),
            ("*.b", "a.c", false),
            (">", "a", true),
            ("a.*", "a.b.c", false),
            ("a.*.>", "a.b.>", true),
        ] {
            assert_eq!(overlap(one, other), overlapping, "{one} {other}");
            assert_eq!(overlap(other, one), overlapping, "{other} {one}");
        }
    }

    #[test]
    fn a_subject_covers_another_where_it_takes_in_all_of_it() {
        for (wide, narrow, covered) in [
            ("booking.>", "booking.*.*.*.*", true),
            ("booking.*", "booking.*.*", false),
            ("booking.*.*", "booking.*.*", true),
            ("booking.1.*", "booking.*.*", false),
            ("*.>", "a.>", true),
            ("*", ">", false),
            ("a.*", "a.>", false),
            (">", ">", true),
        ] {
            assert_eq!(covers(wide, narrow), covered, "{wide} {narrow}");
        }
    }

    #[test]
    fn mistakes_in_subjects_and_pointers_have_a_place() {
        for (text, at, part) in [
            ("a..b", 2, "empty token"),
            ("a.", 2, "empty token"),
            ("a.>.b", 2, "before its end"),
            ("a.b*", 2, "stands alone"),
            ("a.b c", 2, "blanks"),
        ] {
            let (place, error) = subject(text).unwrap_err();
            assert!(place == at && error.contains(part), "{text}: {place} {error}");
        }
        assert_eq!(subject("a.*.>"), Ok(()));
        for (text, at) in [("", 0), ("id", 0), ("/a~", 2), ("/a~2", 2)] {
            assert_eq!(pointer(text).unwrap_err().0, at, "{text}");
        }
        assert_eq!(pointer("/a/0/b~1c~0"), Ok(()));
    }
}
