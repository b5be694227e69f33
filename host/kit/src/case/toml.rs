//! Reads the text of a TOML file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;
use super::tree::{Key, NO_NUMBER, Node, Place, Table, Tree, number, whole};

/// What stands in the text. An error has every mistake of the syntax.
pub(super) fn read(text: &str) -> Result<Tree, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { lines: Lines::of(text), mistakes: Vec::new() };
    for error in errors {
        let at = reader.lines.place(error.span().map_or(0, |span| span.start));
        reader.mistakes.push(Mistake::new(at, error.message().to_owned()));
    }
    let table = reader.table(document.get_ref());
    match reader.mistakes.is_empty() {
        true => Ok(Tree { at: Place::START, node: Node::Table(table) }),
        false => Err(reader.mistakes),
    }
}

struct Reader<'t> {
    lines: Lines<'t>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn table(&mut self, entries: &DeTable<'_>) -> Table {
        let mut table = Table::default();
        for (name, value) in entries {
            let key = Key { at: self.lines.place(name.span().start), name: name.get_ref().to_string() };
            // The parser has told of a key that is there twice.
            table.add(key, self.value(value));
        }
        table
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Tree {
        let at = self.lines.place(value.span().start);
        let mut of = |number| match number {
            Some(number) => Node::Number(number),
            None => {
                self.mistakes.push(Mistake::new(at, NO_NUMBER.to_owned()));
                Node::Null
            }
        };
        let node = match value.get_ref() {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Integer(digits) => of(whole(&digits.as_str().replace('_', ""), digits.radix())),
            DeValue::Float(text) => of(number(&text.as_str().replace('_', ""))),
            DeValue::Boolean(is) => Node::Bool(*is),
            DeValue::Datetime(time) => Node::Time(time.to_string()),
            DeValue::Array(items) => Node::List(items.iter().map(|item| self.value(item)).collect()),
            DeValue::Table(table) => Node::Table(self.table(table)),
        };
        Tree { at, node }
    }
}

/// Where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    begins: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, begins: std::iter::once(0).chain(after).collect() }
    }

    /// The place of this byte.
    fn place(&self, at: usize) -> Place {
        let at = at.min(self.text.len());
        let line = self.begins.partition_point(|begin| *begin <= at).max(1);
        let before = &self.text.as_bytes()[self.begins[line - 1]..at];
        // Every character has one byte that does not go on with another.
        let column = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1;
        Place { line, column }
    }
}
