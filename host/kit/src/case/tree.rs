//! What stands in a file of cases, with the place of everything: from TOML or YAML alike.

use serde_json::{Map, Number, Value};

/// A place in a text: a line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) at: Place,
    pub(super) node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A time that is no text, which only TOML has.
    Time(String),
    List(Vec<Tree>),
    Table(Table),
}

/// Keys, each once, with their values, in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(Key, Tree)>);

#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) name: String,
}

impl Table {
    /// Adds a key. `false`: there is one of that name.
    pub(super) fn add(&mut self, key: Key, value: Tree) -> bool {
        let is_new = self.get(&key.name).is_none();
        self.0.push((key, value));
        is_new
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tree> {
        self.0.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> &[(Key, Tree)] {
        &self.0
    }
}

impl Tree {
    /// As JSON. A time becomes its text.
    pub(super) fn into_json(self) -> Value {
        match self.node {
            Node::Null => Value::Null,
            Node::Bool(is) => Value::Bool(is),
            Node::Number(number) => Value::Number(number),
            Node::Text(text) | Node::Time(text) => Value::String(text),
            Node::List(items) => items.into_iter().map(Self::into_json).collect(),
            Node::Table(Table(entries)) => {
                let entries = entries.into_iter().map(|(key, value)| (key.name, value.into_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

/// Why these digits are no number of JSON.
pub(super) const NO_NUMBER: &str = "the number is too large, or none that JSON has";

/// The whole number that these digits say, which may have a sign before them.
pub(super) fn whole(digits: &str, radix: u32) -> Option<Number> {
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let number = i64::from_str_radix(digits, radix).map(Number::from);
    number.or_else(|_| u64::from_str_radix(digits, radix).map(Number::from)).ok()
}

/// The number that this text says.
pub(super) fn number(text: &str) -> Option<Number> {
    Number::from_f64(text.parse().ok()?)
}
