//! Holds the text of a file against its form, and finds every mistake with its place.

use pelton_core::time::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::form::{FILE, Form, Key, Kind};
use super::{Mistake, parse_duration};
use crate::matcher;

/// The most mistakes that are told.
const MOST: usize = 50;

/// All mistakes of the text, in the order of their places.
pub(super) fn mistakes(text: &str) -> Vec<Mistake> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut found = Found(Vec::new());
    for error in errors {
        found.add(error.span().map_or(0, |span| span.start), error.message().to_owned());
    }
    // Where a value is missing, what is said of the rest may be wrong.
    if found.0.is_empty() {
        found.table(&FILE, document.get_ref(), 0);
    }
    found.0.sort_by_key(|(at, _)| *at);
    found.0.truncate(MOST);
    found.0.into_iter().map(|(at, what)| mistake(text, at, what)).collect()
}

/// A mistake at this byte of the text.
pub(super) fn mistake(text: &str, at: usize, what: String) -> Mistake {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    Mistake { line, column: before[line_start..].chars().count() + 1, what }
}

struct Found(Vec<(usize, String)>);

impl Found {
    fn add(&mut self, at: usize, what: String) {
        self.0.push((at, what));
    }

    fn table(&mut self, form: &Form, table: &DeTable<'_>, at: usize) {
        for key in form.keys.iter().filter(|key| key.required) {
            if !table.contains_key(key.name) {
                self.add(at, format!("{} has no `{}`: {}", form.title, key.name, key.doc));
            }
        }
        for (name, value) in table {
            let place = name.span().start;
            match form.keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(key, key.kind, value),
                None => {
                    let known: Vec<_> = form.keys.iter().map(|key| key.name).collect();
                    self.add(
                        place,
                        format!(
                            "{} has no key `{}`; it may have {}",
                            form.title,
                            name.get_ref(),
                            list(&known)
                        ),
                    );
                }
            }
        }
    }

    fn value(&mut self, key: &Key, kind: Kind, value: &Spanned<DeValue<'_>>) {
        let at = value.span().start;
        let wrong = |expected: &str| format!("`{}` is {expected}, not {}", key.name, shown(value.get_ref()));
        match (kind, value.get_ref()) {
            (Kind::Text | Kind::TextOr(_), DeValue::String(text)) if !text.is_empty() => {}
            (Kind::Text, _) => self.add(at, wrong("text that is not empty")),
            (Kind::Version, DeValue::Integer(number)) if version(number.as_str()) => {}
            (Kind::Version, _) => self.add(at, wrong("a whole number from 1")),
            (Kind::Time, DeValue::String(text)) => {
                if let Err(why) = Timestamp::parse(text) {
                    self.add(at, format!("`{}`: {why}", key.name));
                }
            }
            (Kind::Time, _) => self.add(at, wrong("a time as text, such as \"2026-01-01T00:00:00Z\"")),
            (Kind::Duration, DeValue::String(text)) => {
                if let Err(why) = parse_duration(text) {
                    self.add(at, format!("`{}`: {why}", key.name));
                }
            }
            (Kind::Duration, _) => self.add(at, wrong("a duration as text, such as \"2h\"")),
            (Kind::Word(words), DeValue::String(text)) if words.contains(&text.as_ref()) => {}
            (Kind::Word(words), _) => self.add(at, wrong(&format!("one of {}", list(words)))),
            (Kind::Json, _) => self.json(value, false),
            (Kind::Pattern, _) => self.json(value, true),
            (Kind::Map(kind), DeValue::Table(table)) => {
                table.iter().for_each(|(_, value)| self.value(key, *kind, value));
            }
            (Kind::Table(form) | Kind::TextOr(form), DeValue::Table(table)) => self.table(form, table, at),
            (Kind::OneOf(forms), DeValue::Table(table)) => {
                let form = forms.iter().find(|form| table.contains_key(form.keys[0].name));
                match form {
                    Some(form) => self.table(form, table, at),
                    None => {
                        let first: Vec<_> = forms.iter().map(|form| form.keys[0].name).collect();
                        self.add(
                            at,
                            format!("`{}` has one of {}, and here it has none", key.name, list(&first)),
                        );
                    }
                }
            }
            (Kind::List(form), DeValue::Array(items)) => {
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(table) => self.table(form, table, item.span().start),
                        other => self.add(
                            item.span().start,
                            format!("each of `{}` is a table, not {}", key.name, shown(other)),
                        ),
                    }
                }
            }
            (Kind::Map(_) | Kind::Table(_) | Kind::OneOf(_), _) => self.add(at, wrong("a table")),
            (Kind::List(_), _) => self.add(at, wrong("a list of tables")),
            (Kind::TextOr(_), _) => self.add(at, wrong("text, or a table")),
        }
    }

    /// A value that becomes JSON, perhaps with matchers in it.
    fn json(&mut self, value: &Spanned<DeValue<'_>>, pattern: bool) {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Datetime(time) => {
                self.add(at, format!("JSON has no times: write the text \"{time}\""));
            }
            DeValue::Array(items) => items.iter().for_each(|item| self.json(item, pattern)),
            DeValue::Table(table) => {
                if pattern
                    && let Some((name, _)) = table.iter().find(|(name, _)| name.get_ref().starts_with('$'))
                {
                    let name = name.get_ref();
                    if !matcher::NAMES.contains(&name.as_ref()) {
                        self.add(
                            at,
                            format!("there is no matcher `{name}`; there are {}", list(matcher::NAMES)),
                        );
                    } else if table.iter().count() > 1 {
                        self.add(at, format!("the matcher `{name}` stands in its table alone"));
                    }
                }
                table.iter().for_each(|(_, value)| self.json(value, pattern));
            }
            _ => {}
        }
    }
}

fn version(text: &str) -> bool {
    text.replace('_', "").parse::<u32>().is_ok_and(|version| version > 0)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shown(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(text) if text.is_empty() => "empty text",
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        mistakes(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = r#"entity = 7
[[case]]
given = [{ evnt = "x" }, { event = "y", version = 0, data = { at = 2026-01-01T00:00:00Z } }]
when = { happens = "z" }
after = "soon"
then.rejection = 4
then.views.a = { "$anny" = true }
[[case]]
name = "fine"
when = { outcome = "c", result = "well" }
"#;
        let expected = [
            "1:10: `entity` is text that is not empty, not a whole number",
            "2:1: a case has no `name`",
            "3:10: an event has no `event`: its type",
            "3:12: an event has no key `evnt`; it may have `event`, `version`",
            "3:51: `version` is a whole number from 1, not a whole number",
            "3:68: JSON has no times: write the text \"2026-01-01T00:00:00Z\"",
            "4:8: `when` has one of `command`, `event`, `timer`, `outcome`, and here it has none",
            "5:9: `after`: \"soon\" is not a whole number with ms, s, m, h or d",
            "6:18: `then.rejection`",
            "7:16: there is no matcher `$anny`",
            "10:34: `result` is one of `accepted`, `rejected`, `set-aside`, `failed`, not text",
        ];
        let told = told(text);
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(
                told.starts_with(&expected.replace("then.rejection", "rejection")),
                "{told:?} is not {expected:?}"
            );
        }
    }

    #[test]
    fn every_syntax_error_is_told() {
        let told = told("a = \n[[case]\nname = \"x\"\n");
        assert!(told.len() >= 2 && told[0].starts_with("1:"), "{told:?}");
    }
}
