//! The message of a failed assertion: the given events, the input, and the expected and the actual result.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

/// The most characters of a line in one of two columns. A terminal of 160 columns shows both columns.
const COLUMN: usize = 76;

/// An assertion.
#[derive(Debug)]
pub(super) struct Report {
    /// The given events, in order.
    pub(super) given: Vec<Value>,
    /// The input: a command, or the inputs of the last step.
    pub(super) when: Vec<Value>,
    /// The difference, for people.
    pub(super) what: String,
}

impl Report {
    /// Asserts that both values are the same JSON.
    ///
    /// # Panics
    /// If they differ, with the whole report.
    #[track_caller]
    pub(super) fn assert(self, expected: &Value, got: &Value) {
        if expected != got {
            self.fail(expected, got);
        }
    }

    /// # Panics
    /// Always, with the whole report.
    #[track_caller]
    pub(super) fn fail(self, expected: &Value, got: &Value) -> ! {
        panic!("{}", Story { report: &self, expected, got })
    }
}

/// A rejection in the form in which reports show it.
pub(super) fn rejected(rejection: &crate::Rejection) -> Value {
    let details: serde_json::Map<_, _> =
        rejection.details.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({ "rejected": { "code": rejection.code, "message": rejection.message, "details": details } })
}

struct Story<'a> {
    report: &'a Report,
    expected: &'a Value,
    got: &'a Value,
}

impl Display for Story<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { given, when, what } = self.report;
        writeln!(f, "{what}")?;
        for (title, values) in [("given", given), ("when", when)] {
            if !values.is_empty() {
                writeln!(f, "\n{title}")?;
            }
            for value in values {
                writeln!(f, "  {value}")?;
            }
        }
        let (expected, got) = (lines(self.expected), lines(self.got));
        let rows = align(&expected, &got);
        let longest = rows.iter().filter_map(|(left, _)| *left).map(|line| line.chars().count()).max();
        let width = longest.unwrap_or(0).clamp("expected".len(), COLUMN);
        writeln!(f, "\n  {:<width$} | got", "expected")?;
        for (left, right) in rows {
            let mark = if left == right { ' ' } else { '>' };
            let row = format!("{mark} {:<width$} | {}", cut(left), cut(right));
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

fn lines(value: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn cut(line: Option<&str>) -> String {
    let line = line.unwrap_or_default();
    if line.chars().count() <= COLUMN {
        return line.to_owned();
    }
    line.chars().take(COLUMN - 1).chain(['…']).collect()
}

type Row<'a> = (Option<&'a str>, Option<&'a str>);

/// The lines of both sides in rows: equal lines in one row, along a longest common subsequence, and the lines between
/// them in pairs.
fn align<'a>(left: &'a [String], right: &'a [String]) -> Vec<Row<'a>> {
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            common[l][r] = if left[l] == right[r] {
                common[l + 1][r + 1] + 1
            } else {
                common[l + 1][r].max(common[l][r + 1])
            };
        }
    }
    let mut rows = Vec::new();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        let (from_l, from_r) = (l, r);
        while l < left.len() && r < right.len() && left[l] != right[r] {
            if common[l + 1][r] >= common[l][r + 1] { l += 1 } else { r += 1 }
        }
        if l == left.len() || r == right.len() {
            (l, r) = (left.len(), right.len());
        }
        let (only_left, only_right) = (&left[from_l..l], &right[from_r..r]);
        for at in 0..only_left.len().max(only_right.len()) {
            rows.push((only_left.get(at).map(String::as_str), only_right.get(at).map(String::as_str)));
        }
        if l < left.len() && r < right.len() {
            rows.push((Some(left[l].as_str()), Some(right[r].as_str())));
            (l, r) = (l + 1, r + 1);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_given_when_and_both_results_side_by_side() {
        let report = Report {
            given: vec![json!({ "book-lent": { "reader": "ada" } })],
            when: vec![json!({ "return-book": {} })],
            what: "the events are not as expected".to_owned(),
        };
        let expected = json!([{ "book-returned": { "reader": "ada" } }]);
        let got = json!([{ "book-returned": { "at": "noon", "reader": "bob" } }]);
        let story = Story { report: &report, expected: &expected, got: &got }.to_string();
        let wanted = r#"the events are not as expected

given
  {"book-lent":{"reader":"ada"}}

when
  {"return-book":{}}

  expected             | got
  [                    | [
    {                  |   {
      "book-returned": { |     "book-returned": {
>       "reader": "ada" |       "at": "noon",
>                      |       "reader": "bob"
      }                |     }
    }                  |   }
  ]                    | ]
"#;
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&story), squeezed(wanted), "{story}");
        let bars: std::collections::BTreeSet<_> =
            story.lines().filter(|line| line.contains(" | ")).map(|line| line.find(" | ")).collect();
        assert_eq!(bars.len(), 1, "the columns stand one below the other:\n{story}");
    }

    #[test]
    fn lines_that_only_one_side_has_stand_alone() {
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let (left, right) = (text(&["a", "b", "c"]), text(&["a", "c", "d"]));
        let expected: Vec<Row<'_>> =
            vec![(Some("a"), Some("a")), (Some("b"), None), (Some("c"), Some("c")), (None, Some("d"))];
        assert_eq!(align(&left, &right), expected);
        assert_eq!(align(&left, &[]).len(), 3);
    }
}
