//! Every key of `pelton.toml`, printed from the declarations that the file is read by: `pelton check --reference`, and
//! the same text in `docs/configuration.md`.

use std::fmt::Write;

use super::text::key::Table;
use super::typed::DOCUMENT;

const INTRODUCTION: &str = "\
# Configuration

Pelton reads one file, `pelton.toml`, in [TOML](https://toml.io). `pelton check` reports every mistake in one run, with
file, line, column and a suggestion; it refuses an unknown key. This page is the output of `pelton check --reference`.

- A *duration* is a text with a whole number and one of the units `ms`, `s`, `m`, `h` and `d`: `\"200ms\"`, `\"14d\"`.
- *Bytes* are a whole number, or a text with one of the units `KiB`, `MiB` and `GiB`: `65_536`, `\"64KiB\"`.
- A *name* is made of `a` to `z`, `0` to `9` and `-`, and has at most 48 bytes. Handlers, projections and sagas share
  one set of names. In the headings below, `booking`, `bookings`, `hotel` and `housekeeping` stand for your names.
- A *path* is relative to the configuration file.
";

/// The reference, as Markdown.
pub(crate) fn render() -> String {
    let mut text = INTRODUCTION.to_owned();
    DOCUMENT.tables.iter().for_each(|table| describe(table, &mut text));
    text
}

fn describe(table: &Table, text: &mut String) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "\n## `{}`\n\n{}\n", table.header, table.doc);
    if !table.keys.is_empty() {
        text.push_str("\n| key | unit | default | meaning |\n|---|---|---|---|\n");
    }
    for key in table.keys {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", key.name(), key.unit(), key.default(), key.doc());
    }
    let _ = write!(text, "\n```toml\n{}```\n", example(table));
    table.tables.iter().for_each(|table| describe(table, text));
}

/// The table with an example of every key.
fn example(table: &Table) -> String {
    let mut text = format!("{}\n", table.header);
    for key in table.keys {
        let _ = writeln!(text, "{} = {}", key.name(), key.example());
    }
    if let Some(entry) = table.free {
        let _ = writeln!(text, "{entry}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{Source, parse};

    #[test]
    fn the_page_in_docs_is_the_reference() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let rendered = render();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&page, &rendered).expect("a writable folder");
        }
        let written = fs::read_to_string(&page).unwrap_or_default();
        assert_eq!(written, rendered, "run this test with BLESS=1 to write docs/configuration.md");
    }

    #[test]
    fn the_examples_make_a_sound_configuration() {
        fn all(table: &Table) -> String {
            example(table) + &table.tables.iter().map(|table| all(table)).collect::<String>()
        }
        let text: String = DOCUMENT.tables.iter().map(|table| all(table)).collect();
        // Not together with a handler.
        let text = text.replace("max-age = \"90d\"\n", "").replace("when-full = \"delete-oldest\"\n", "");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("host.creds"), "").expect("a file");
        let loaded = parse(Source { path: "examples.toml".to_owned(), text: text.clone() }, folder.path());
        let config = loaded.config.clone();
        let report = loaded.into_report(Vec::new()).render(false);
        assert!(config.is_some(), "{report}\n{text}");
    }

    /// `full.toml` gives every key another value than its default. So a key that is declared and never used shows
    /// there.
    #[test]
    fn every_declared_key_is_in_the_full_configuration() {
        fn check(table: &Table, full: &str) {
            for key in table.known().filter(|key| *key != "credentials") {
                let known = [format!("{key} ="), format!("[{key}"), format!("{key}.")];
                assert!(known.iter().any(|form| full.contains(form)), "{} {key}", table.header);
            }
            table.tables.iter().for_each(|table| check(table, full));
        }
        check(&DOCUMENT, include_str!("../../tests/ui/full.toml"));
    }
}
