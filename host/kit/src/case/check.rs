//! Holds what stands in a file against its form, and finds every mistake with its place.

use pelton_core::time::Timestamp;

use super::form::{FILE, Form, Key, Kind};
use super::tree::{Node, Place, Table, Tree};
use super::{Mistake, parse_duration};
use crate::matcher;

/// All mistakes, in the order of their places.
pub(super) fn mistakes(file: &Tree) -> Vec<Mistake> {
    let mut found = Found(Vec::new());
    match &file.node {
        Node::Table(table) => found.table(&FILE, table, Place::START),
        other => found.add(file.at, format!("{} is a table, not {}", FILE.title, shown(other))),
    }
    found.0
}

struct Found(Vec<Mistake>);

impl Found {
    fn add(&mut self, at: Place, what: String) {
        self.0.push(Mistake::new(at, what));
    }

    fn table(&mut self, form: &Form, table: &Table, at: Place) {
        for key in form.keys.iter().filter(|key| key.required) {
            if table.get(key.name).is_none() {
                self.add(at, format!("{} has no `{}`: {}", form.title, key.name, key.doc));
            }
        }
        for (key, value) in table.entries() {
            match form.keys.iter().find(|known| known.name == key.name) {
                Some(known) => self.value(known, known.kind, value),
                None => {
                    let known: Vec<_> = form.keys.iter().map(|key| key.name).collect();
                    self.add(
                        key.at,
                        format!("{} has no key `{}`; it may have {}", form.title, key.name, list(&known)),
                    );
                }
            }
        }
    }

    fn value(&mut self, key: &Key, kind: Kind, value: &Tree) {
        let at = value.at;
        let wrong = |expected: &str| format!("`{}` is {expected}, not {}", key.name, shown(&value.node));
        match (kind, &value.node) {
            (Kind::Text | Kind::TextOr(_), Node::Text(text)) if !text.is_empty() => {}
            (Kind::Text, _) => self.add(at, wrong("text that is not empty")),
            (Kind::Version, Node::Number(number))
                if number.as_u64().is_some_and(|n| n > 0 && u32::try_from(n).is_ok()) => {}
            (Kind::Version, _) => self.add(at, wrong("a whole number from 1")),
            (Kind::Time, Node::Text(text)) => {
                if let Err(why) = Timestamp::parse(text) {
                    self.add(at, format!("`{}`: {why}", key.name));
                }
            }
            (Kind::Time, _) => self.add(at, wrong("a time as text, such as \"2026-01-01T00:00:00Z\"")),
            (Kind::Duration, Node::Text(text)) => {
                if let Err(why) = parse_duration(text) {
                    self.add(at, format!("`{}`: {why}", key.name));
                }
            }
            (Kind::Duration, _) => self.add(at, wrong("a duration as text, such as \"2h\"")),
            (Kind::Word(words), Node::Text(text)) if words.contains(&text.as_str()) => {}
            (Kind::Word(words), _) => self.add(at, wrong(&format!("one of {}", list(words)))),
            (Kind::Json, _) => self.json(value, false),
            (Kind::Pattern, _) => self.json(value, true),
            (Kind::Map(kind), Node::Table(table)) => {
                table.entries().iter().for_each(|(_, value)| self.value(key, *kind, value));
            }
            (Kind::Table(form) | Kind::TextOr(form), Node::Table(table)) => self.table(form, table, at),
            (Kind::OneOf(forms), Node::Table(table)) => {
                let form = forms.iter().find(|form| table.get(form.keys[0].name).is_some());
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
            (Kind::List(form), Node::List(items)) => {
                for item in items {
                    match &item.node {
                        Node::Table(table) => self.table(form, table, item.at),
                        other => self
                            .add(item.at, format!("each of `{}` is a table, not {}", key.name, shown(other))),
                    }
                }
            }
            (Kind::Map(_) | Kind::Table(_) | Kind::OneOf(_), _) => self.add(at, wrong("a table")),
            (Kind::List(_), _) => self.add(at, wrong("a list of tables")),
            (Kind::TextOr(_), _) => self.add(at, wrong("text, or a table")),
        }
    }

    /// A value that becomes JSON, perhaps with matchers in it.
    fn json(&mut self, value: &Tree, pattern: bool) {
        let at = value.at;
        match &value.node {
            Node::Time(time) => {
                self.add(at, format!("JSON has no times: write the text \"{time}\""));
            }
            Node::List(items) => items.iter().for_each(|item| self.json(item, pattern)),
            Node::Table(table) => {
                let entries = table.entries();
                if pattern && let Some((key, _)) = entries.iter().find(|(key, _)| key.name.starts_with('$')) {
                    let name = key.name.as_str();
                    if !matcher::NAMES.contains(&name) {
                        self.add(
                            at,
                            format!("there is no matcher `{name}`; there are {}", list(matcher::NAMES)),
                        );
                    } else if entries.len() > 1 {
                        self.add(at, format!("the matcher `{name}` stands in its table alone"));
                    }
                }
                entries.iter().for_each(|(_, value)| self.json(value, pattern));
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => {}
        }
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shown(node: &Node) -> &'static str {
    match node {
        Node::Null => "nothing",
        Node::Bool(_) => "true or false",
        Node::Number(number) if number.is_f64() => "a number",
        Node::Number(_) => "a whole number",
        Node::Text(text) if text.is_empty() => "empty text",
        Node::Text(_) => "text",
        Node::Time(_) => "a time",
        Node::List(_) => "a list",
        Node::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{CaseFile, MalformedCases};

    fn told(file: &str, text: &str) -> Vec<String> {
        let Err(MalformedCases::Malformed { mistakes, .. }) = CaseFile::parse(Path::new(file), text) else {
            panic!("it has no mistakes");
        };
        mistakes.iter().map(ToString::to_string).collect()
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
        let told = told("cases.toml", text);
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
        let told = told("cases.toml", "a = \n[[case]\nname = \"x\"\n");
        assert!(told.len() >= 2 && told[0].starts_with("1:"), "{told:?}");
    }

    #[test]
    fn the_same_mistakes_are_told_of_yaml() {
        let text = r#"
case:
  - given: [{evnt: x}]
    when: {happens: z}
    after: soon
    then:
      views: {a: {$anny: true}}
  - name: fine
    when: {command: c}
    then: {events: 3}
"#;
        let expected = [
            "3:5: a case has no `name`",
            "3:13: an event has no `event`: its type",
            "3:14: an event has no key `evnt`",
            "4:11: `when` has one of `command`, `event`",
            "5:12: `after`: \"soon\" is not a whole number",
            "7:18: there is no matcher `$anny`",
            "10:20: `events` is a list of tables, not a whole number",
        ];
        let told_of = told("cases.yaml", text);
        assert_eq!(told_of.len(), expected.len(), "{told_of:#?}");
        for (told, expected) in told_of.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told:?} is not {expected:?}");
        }
        assert!(told("cases.yml", "- a\n")[0].starts_with("1:1: a file of cases is a table, not a list"));
    }
}
