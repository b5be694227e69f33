//! Reads the text of a YAML file: one document, of what JSON has, by the core schema of YAML 1.2.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::Mistake;
use super::tree::{Key, NO_NUMBER, Node, Place, Table, Tree, number, whole};

/// The deepest nesting.
const MAX_DEPTH: usize = 100;

/// What stands in the text. An error has the first mistake of the syntax, or all that JSON does not have.
pub(super) fn read(text: &str) -> Result<Tree, Vec<Mistake>> {
    let mut reader = Reader { parser: Parser::new_from_str(text), mistakes: Vec::new() };
    let tree = match reader.document() {
        Ok(tree) => tree,
        Err(mistake) => {
            reader.mistakes.push(mistake);
            return Err(reader.mistakes);
        }
    };
    match reader.mistakes.is_empty() {
        true => Ok(tree.unwrap_or(Tree { at: Place::START, node: Node::Table(Table::default()) })),
        false => Err(reader.mistakes),
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    mistakes: Vec<Mistake>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Mistake> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, start(span))),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Place::START)),
        }
    }

    /// The one document. `None`: there is none.
    fn document(&mut self) -> Result<Option<Tree>, Mistake> {
        let mut tree = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(tree),
                (Event::DocumentStart(_), at) if tree.is_some() => {
                    return Err(Mistake::new(at, "a file of cases is one document".to_owned()));
                }
                (Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
                (event, at) => tree = Some(self.value(event, at, 0)?),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, at: Place, depth: usize) -> Result<Tree, Mistake> {
        if depth > MAX_DEPTH {
            return Err(Mistake::new(at, format!("it is nested more than {MAX_DEPTH} deep")));
        }
        let node = match event {
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref(), at),
            Event::SequenceStart(_, tag) => {
                self.untagged(tag.as_deref(), at);
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Node::List(items),
                        (event, at) => items.push(self.value(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(_, tag) => {
                self.untagged(tag.as_deref(), at);
                Node::Table(self.table(depth)?)
            }
            Event::Alias(_) => self.wrong(at, "there are no aliases here: write the value out"),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(Mistake::new(at, "a value is missing".to_owned())),
        };
        Ok(Tree { at, node })
    }

    fn table(&mut self, depth: usize) -> Result<Table, Mistake> {
        let mut table = Table::default();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(table),
                (Event::Scalar(text, ..), at) => (Key { at, name: text.into_owned() }, at),
                (_, at) => return Err(Mistake::new(at, "a key is text".to_owned())),
            };
            let name = key.name.clone();
            let (event, place) = self.next()?;
            let value = self.value(event, place, depth + 1)?;
            if !table.add(key, value) {
                self.wrong(at, &format!("the key `{name}` is set twice"));
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Node {
        let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if is_text || style != ScalarStyle::Plain {
            self.untagged(tag.filter(|_| !is_text), at);
            return Node::Text(text.to_owned());
        }
        self.untagged(tag, at);
        match plain(text) {
            Some(node) => node,
            None => self.wrong(at, NO_NUMBER),
        }
    }

    fn untagged(&mut self, tag: Option<&Tag>, at: Place) {
        if let Some(tag) = tag {
            self.wrong(at, &format!("there are no tags here, as {}{}", tag.handle, tag.suffix));
        }
    }

    fn wrong(&mut self, at: Place, what: &str) -> Node {
        self.mistakes.push(Mistake::new(at, what.to_owned()));
        Node::Null
    }
}

/// What text without quotes stands for. `None`: a number that JSON does not have.
fn plain(text: &str) -> Option<Node> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |digits: &str, is: fn(&char) -> bool| !digits.is_empty() && digits.chars().all(|c| is(&c));
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "true" | "True" | "TRUE" => Node::Bool(true),
        "false" | "False" | "FALSE" => Node::Bool(false),
        _ if all(unsigned, char::is_ascii_digit) => Node::Number(whole(text, 10)?),
        _ => match (text.strip_prefix("0o"), text.strip_prefix("0x")) {
            (Some(octal), _) if all(octal, |c| c.is_digit(8)) => Node::Number(whole(octal, 8)?),
            (_, Some(hex)) if all(hex, char::is_ascii_hexdigit) => Node::Number(whole(hex, 16)?),
            _ if is_float(unsigned) => Node::Number(number(text)?),
            _ if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") => {
                return None;
            }
            _ => Node::Text(text.to_owned()),
        },
    })
}

/// Whether it is a number with a point or an exponent, without its sign.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !before.is_empty() || !behind.is_empty();
    has_digits
        && digits(before)
        && digits(behind)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

fn start(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(error: &ScanError) -> Mistake {
    let at = error.marker();
    Mistake::new(Place { line: at.line(), column: at.col() + 1 }, error.info().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_reads_what_json_has() {
        let text = r#"
# A comment.
texts: [no, "7", '0x1', 1.2.3, !!str 5, 2026-01-01T00:00:00Z, 12e, "é"]
others: [~, null, true, -7, +7, 007, 0x1f, 0o17, 1.5, -.5, 2e3, 18446744073709551615]
empty:
block: |
  two
  lines
nested:
  - a: 1
    b: {c: []}
"#;
        let expected = json!({
            "texts": ["no", "7", "0x1", "1.2.3", "5", "2026-01-01T00:00:00Z", "12e", "é"],
            "others": [null, null, true, -7, 7, 7, 31, 15, 1.5, -0.5, 2000.0, u64::MAX],
            "empty": null,
            "block": "two\nlines\n",
            "nested": [{ "a": 1, "b": { "c": [] } }],
        });
        assert_eq!(read(text).unwrap().into_json(), expected);
        assert_eq!(read("# nothing\n").unwrap().into_json(), json!({}));
    }

    #[test]
    fn what_json_does_not_have_is_told_with_its_place() {
        let told = |text: &str| {
            let mistakes = read(text).unwrap_err();
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let text = "a: &one 1\nb: *one\nc: !thing {}\nd: .inf\nc: 99999999999999999999\n";
        let expected = [
            "2:4: there are no aliases here: write the value out",
            "3:4: there are no tags here, as !thing",
            "4:4: the number is too large, or none that JSON has",
            "5:4: the number is too large, or none that JSON has",
            "5:1: the key `c` is set twice",
        ];
        assert_eq!(told(text), expected);
        assert!(told("a: [1\n")[0].starts_with("2:1: "), "{:?}", told("a: [1\n"));
        assert!(told("a: 1\n---\nb: 2\n")[0].ends_with("a file of cases is one document"));
        assert!(told("? [a]\n: 1\n")[0].ends_with("a key is text"));
        let deep = "- ".repeat(5_000);
        assert!(told(&deep)[0].ends_with("it is nested more than 100 deep"));
    }
}
