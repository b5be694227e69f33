//! The quotes of the documentation match the named files, line by line (N6: the samples did not fit together).

use std::fs;

use pelton_tests::place;

use crate::blocks::{self, Block};

/// A line that stands for omitted lines.
const GAP: &str = "// …";
const GAP_OTHERWISE: &str = "# …";

#[test]
fn every_quote_is_in_its_file() {
    let mut quotes = 0;
    for file in blocks::files() {
        for block in blocks::of(&file) {
            let Some(source) = block.says("from") else { continue };
            quotes += 1;
            let kind = match source.rsplit_once('.').map(|(_, ending)| ending) {
                Some("rs") => "rust",
                Some("c") => "c",
                Some("js") => "js",
                Some("py") => "python",
                _ => "toml",
            };
            let named = block.language == kind || file.ends_with(".rs");
            assert!(named, "{}: a quote of {source} is marked as {:?}", block.place(), block.language);
            if let Err(missing) = quoted(&block, source) {
                panic!("{}: {source} does not have, in this order:\n{missing}", block.place());
            }
        }
    }
    assert!(quotes >= 6, "the SDK's page alone has six quotes; {quotes} were found");
}

/// Every part between gaps must stand in the source as successive lines, after the part before it. Indentation does not
/// count, and lines that rustdoc hides are not part of a quote.
fn quoted(block: &Block, source: &str) -> Result<(), String> {
    let text =
        fs::read_to_string(place::root().join(source)).map_err(|error| format!("{source}: {error}"))?;
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let shown: Vec<_> = block
        .text
        .lines()
        .map(str::trim)
        .filter(|line| block.file.ends_with(".md") || !(line.starts_with("# ") || *line == "#"))
        .collect();
    let mut from = 0;
    for part in shown.split(|line| matches!(*line, GAP | GAP_OTHERWISE)) {
        let part = trimmed(part);
        if part.is_empty() {
            continue;
        }
        let rest = &lines[from..];
        let at = rest.windows(part.len()).position(|window| window == part).ok_or_else(|| part.join("\n"))?;
        from += at + part.len();
    }
    if from == 0 { Err("anything: the quote is empty".to_owned()) } else { Ok(()) }
}

/// The text without blank lines at both ends.
fn trimmed<'a, 'b>(mut part: &'b [&'a str]) -> &'b [&'a str] {
    while let [first, rest @ ..] = part
        && first.is_empty()
    {
        part = rest;
    }
    while let [rest @ .., last] = part
        && last.is_empty()
    {
        part = rest;
    }
    part
}

#[test]
fn a_quote_that_drifted_is_found() {
    let block = |text: &str| Block {
        file: "README.md".to_owned(),
        line: 1,
        language: "toml".to_owned(),
        said: Vec::new(),
        text: text.to_owned(),
    };
    let library = "plugins/library/pelton.toml";
    for (text, fits) in [
        ("[gateway]\nlisten = \"127.0.0.1:3002\"\n", true),
        ("[gateway]\n# …\n[plugins]\n", true),
        ("[plugins]\n# …\n[gateway]\n", false),
        ("[gateway]\nlisten = \"127.0.0.1:3003\"\n", false),
        ("\n", false),
    ] {
        assert_eq!(quoted(&block(text), library).is_ok(), fits, "{text}");
    }
}
